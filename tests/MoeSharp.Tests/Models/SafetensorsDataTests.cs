using System.Buffers.Binary;
using System.Text;
using MoeSharp.Core;
using MoeSharp.Models;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Tests;

public sealed class SafetensorsDataTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly ReferenceBackend _backend = new();

    public void Dispose()
    {
        _backend.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void WriteThenLoad_GivesBackEveryDType()
    {
        string path = _folder["all.safetensors"];
        using var scope = new TensorScope();
        (string, Tensor)[] tensors =
        [
            ("f32", _backend.From<float>([1.5f, -0f, float.NaN, float.Epsilon], 2, 2)),
            ("f64", _backend.From<double>([Math.PI, double.NegativeInfinity], 2)),
            ("bf16", _backend.From<BFloat16>([(BFloat16)1.5f, BFloat16.FromBits(0x7FC1)], 2)),
            ("i32", _backend.From<int>([int.MinValue, 7], 2)),
            ("i64", _backend.From<long>([long.MaxValue], 1)),
            ("u8", _backend.From<byte>([1, 2, 255], 3)),
            ("scalar", _backend.From<float>([42])),
            ("empty", _backend.From<float>([], 0, 5)),
        ];
        SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["key"] = "wert \"ä\"" });
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.Equal("wert \"ä\"", file.Metadata["key"]);
        Assert.Equal(tensors.Length, file.Entries.Count);
        foreach ((string name, Tensor tensor) in tensors)
        {
            Tensor loaded = file.Load(name, _backend, tensor.DType);
            Assert.Equal(tensor.Shape, loaded.Shape);
            Assert.Equal(tensor.ToDoubles().Select(BitConverter.DoubleToUInt64Bits), loaded.ToDoubles().Select(BitConverter.DoubleToUInt64Bits));
        }
    }

    [Fact]
    public void Write_BytesAreThoseOfTheFormat()
    {
        string path = _folder["bytes.safetensors"];
        using Tensor single = _backend.From<float>([1], 1);
        using Tensor wide = _backend.From<double>([2], 1);
        SafetensorsWriter.Write(path, [("b", single), ("a", single), ("z", wide)]);
        byte[] bytes = File.ReadAllBytes(path);
        int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        string header = Encoding.UTF8.GetString(bytes, 8, length);
        Assert.Equal(0, length % 8);
        Assert.Equal(
            """{"z":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}""",
            header.TrimEnd(' '));
        Assert.Equal([0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0x80, 0x3F, 0, 0, 0x80, 0x3F], bytes[(8 + length)..]);
    }

    [Fact]
    public void Write_InAnyOrder_GivesTheSameBytes()
    {
        using Tensor a = _backend.From<float>([1, 2], 2);
        using Tensor b = _backend.From<BFloat16>([(BFloat16)3f], 1);
        SafetensorsWriter.Write(_folder["1"], [("a", a), ("b", b)], new Dictionary<string, string> { ["x"] = "1", ["y"] = "2" });
        SafetensorsWriter.Write(_folder["2"], [("b", b), ("a", a)], new Dictionary<string, string> { ["y"] = "2", ["x"] = "1" });
        Assert.Equal(File.ReadAllBytes(_folder["1"]), File.ReadAllBytes(_folder["2"]));
    }

    [Fact]
    public void Write_ThatFails_LeavesTheOldFileAndNoOther()
    {
        string path = _folder["kept"];
        using Tensor good = _backend.From<float>([1], 1);
        SafetensorsWriter.Write(path, [("a", good)]);
        byte[] before = File.ReadAllBytes(path);
        Tensor dead = _backend.From<float>([2], 1);
        dead.Dispose();
        Assert.Throws<ObjectDisposedException>(() => SafetensorsWriter.Write(path, [("a", good), ("b", dead)]));
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Equal([path], Directory.GetFiles(_folder.Root));
    }

    [Fact]
    public void Write_WhileTheOldFileIsMapped_KeepsTheOldContentReadable()
    {
        string path = _folder["mapped"];
        using Tensor old = _backend.From<float>([1], 1);
        using Tensor fresh = _backend.From<float>([2], 1);
        SafetensorsWriter.Write(path, [("a", old)]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        SafetensorsWriter.Write(path, [("a", fresh)]);
        using Tensor loaded = file.Load("a", _backend, DType.Float32);
        Assert.Equal([1f], loaded.ToArray<float>());
    }

    [Fact]
    public void Write_RefusesEqualAndReservedNames()
    {
        using Tensor a = _backend.From<float>([1], 1);
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(_folder["x"], [("a", a), ("a", a)]));
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(_folder["x"], [("__metadata__", a)]));
        Assert.False(File.Exists(_folder["x"]));
    }

    [Fact]
    public void Load_WidensExactlyAndNarrowsToNearestEven()
    {
        string path = _folder["convert"];
        using (Tensor brain = _backend.From<BFloat16>([(BFloat16)1.5f, BFloat16.FromBits(0xC049)], 2))
        using (Tensor wide = _backend.From<double>([1 + Math.ScaleB(1, -24), 0.1], 2))
        {
            SafetensorsWriter.Write(path, [("bf16", brain), ("f64", wide)]);
        }

        using var scope = new TensorScope();
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.Equal([1.5f, -3.140625f], file.Load("bf16", _backend, DType.Float32).ToArray<float>());
        Assert.Equal([1.5, -3.140625], file.Load("bf16", _backend, DType.Float64).ToArray<double>());
        Assert.Equal([1f, 0.1f], file.Load("f64", _backend, DType.Float32).ToArray<float>());
    }

    [Fact]
    public void Load_ReadsHalfPrecision()
    {
        byte[] header = Encoding.UTF8.GetBytes("""{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}""");
        var bytes = new byte[8 + header.Length + 4];
        bytes[0] = (byte)header.Length;
        header.CopyTo(bytes, 8);
        BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(8 + header.Length), (Half)0.333f);
        BinaryPrimitives.WriteHalfLittleEndian(bytes.AsSpan(10 + header.Length), (Half)(-65504f));
        using SafetensorsFile file = SafetensorsFile.Open(_folder.Write("half", bytes));
        using Tensor loaded = file.Load("h", _backend, DType.Float32);
        Assert.Equal([(float)(Half)0.333f, -65504f], loaded.ToArray<float>());
    }

    [Fact]
    public void Load_LargerThanOneChunk_IsComplete()
    {
        int count = (3 * SafetensorsFile.ChunkElements) + 17;
        float[] values = [.. Enumerable.Range(0, count).Select(i => (float)i)];
        using Tensor tensor = _backend.From<float>(values, count);
        SafetensorsWriter.Write(_folder["big"], [("a", tensor)]);
        using SafetensorsFile file = SafetensorsFile.Open(_folder["big"]);
        using Tensor same = file.Load("a", _backend, DType.Float32);
        using Tensor wide = file.Load("a", _backend, DType.Float64);
        Assert.Equal(values, same.ToArray<float>());
        Assert.Equal(values.Select(x => (double)x), wide.ToArray<double>());
    }

    [Fact]
    public void ReadBytes_Beyond2GB_ReadsTheRightPlace()
    {
        const long Length = 3L << 30;
        string path = _folder["sparse"];
        byte[] header = Encoding.UTF8.GetBytes($$$"""{"a":{"dtype":"U8","shape":[{{{Length}}}],"data_offsets":[0,{{{Length}}}]}}""");
        using (var stream = new FileStream(path, FileMode.Create))
        {
            stream.SetLength(8 + header.Length + Length);
            stream.WriteByte((byte)header.Length);
            stream.Seek(8, SeekOrigin.Begin);
            stream.Write(header);
            stream.Seek(-3, SeekOrigin.End);
            stream.Write([7, 8, 9]);
        }

        using SafetensorsFile file = SafetensorsFile.Open(path);
        var tail = new byte[4];
        file.ReadBytes("a", Length - 4, tail);
        Assert.Equal([0, 7, 8, 9], tail);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadBytes("a", Length - 3, tail));
    }

    [Fact]
    public void CopyInto_NamesFileTensorAndOffset_WhenShapesDiffer()
    {
        using Tensor tensor = _backend.From<float>([1, 2], 2);
        using Tensor other = _backend.Empty(new Shape(1, 2), DType.Float32);
        SafetensorsWriter.Write(_folder["s"], [("weight", tensor)]);
        using SafetensorsFile file = SafetensorsFile.Open(_folder["s"]);
        string message = Assert.Throws<CheckpointFormatException>(() => file.CopyInto("weight", other)).Message;
        Assert.Contains(_folder["s"], message, StringComparison.Ordinal);
        Assert.Contains("weight", message, StringComparison.Ordinal);
        Assert.Contains($"byte {file.Entry("weight").ByteOffset}", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_RefusesUnknownNamesAndIntegersAsFloats()
    {
        using Tensor tensor = _backend.From<int>([1], 1);
        SafetensorsWriter.Write(_folder["i"], [("ids", tensor)]);
        using SafetensorsFile file = SafetensorsFile.Open(_folder["i"]);
        Assert.Throws<CheckpointFormatException>(() => file.Load("other", _backend, DType.Int32));
        Assert.Throws<CheckpointFormatException>(() => file.Load("ids", _backend, DType.Float32));
        Assert.Throws<CheckpointFormatException>(() => file.Load("ids", _backend, DType.Int64));
    }

    [Fact]
    public void AnyUseAfterDispose_Throws()
    {
        using Tensor tensor = _backend.From<float>([1], 1);
        SafetensorsWriter.Write(_folder["d"], [("a", tensor)]);
        SafetensorsFile file = SafetensorsFile.Open(_folder["d"]);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Load("a", _backend, DType.Float32));
    }
}

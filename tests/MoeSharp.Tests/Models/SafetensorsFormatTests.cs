using System.Buffers.Binary;
using System.Text;
using MoeSharp.Core;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>One crafted file per rule of the format.</summary>
public sealed class SafetensorsFormatTests
{
    private const string OneFloat = """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""";

    public static TheoryData<string, string, int, string> Refused => new()
    {
        { "array at the top", "[1]", 0, "JSON object" },
        { "number at the top", "1", 0, "JSON object" },
        { "broken JSON", """{"a":}""", 0, "valid JSON" },
        { "comment", """{/**/"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "valid JSON" },
        { "too deep", """{"a":{"dtype":"F32","shape":[[[[[[[[1]]]]]]]],"data_offsets":[0,4]}}""", 4, "valid JSON" },
        { "lone surrogate in a name", """{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "Unicode" },
        { "line feed as padding", OneFloat + "\n", 4, "spaces" },
        { "text behind the object", OneFloat + "{}", 4, "valid JSON" },
        { "duplicate name", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "valid JSON" },
        { "duplicate key", """{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "valid JSON" },
        { "metadata is no object", """{"__metadata__":[],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "__metadata__" },
        { "metadata value is no string", """{"__metadata__":{"step":1},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "'step'" },
        { "unknown dtype", """{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", 4, "unknown dtype 'F33'" },
        { "dtype in lower case", """{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}""", 4, "unknown dtype" },
        { "dtype is a number", """{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}""", 4, "'dtype' of tensor 'a'" },
        { "no dtype", """{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, "no 'dtype'" },
        { "no shape", """{"a":{"dtype":"F32","data_offsets":[0,4]}}""", 4, "no 'shape'" },
        { "no offsets", """{"a":{"dtype":"F32","shape":[1]}}""", 4, "no 'data_offsets'" },
        { "entry is no object", """{"a":[1]}""", 0, "tensor 'a'" },
        { "one offset", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "1 data_offsets" },
        { "three offsets", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "3 data_offsets" },
        { "begin behind end", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "behind its end" },
        { "negative offset", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", 4, "-4" },
        { "fractional offset", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}}""", 4, "4.0" },
        { "exponent", """{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}""", 4, "1e0" },
        { "negative dimension", """{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "-1" },
        { "dimension of 2^64 + 1", """{"a":{"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]}}""", 4, "18446744073709551617" },
        { "product overflows", """{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}""", 4, "overflows" },
        { "product overflows behind a zero", """{"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}""", 0, "overflows" },
        { "bits overflow", """{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8]}}""", 8, "overflows" },
        { "half a byte", """{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}""", 2, "whole number of bytes" },
        { "size differs from offsets", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "8 bytes" },
        { "first does not begin at 0", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "hole" },
        { "hole", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}""", 3, "hole" },
        { "overlap", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}""", 3, "overlaps" },
        { "same place twice", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", 2, "overlaps" },
        { "cut off", OneFloat, 3, "cut off" },
        { "bytes behind the last tensor", OneFloat, 5, "behind the last tensor" },
        { "offsets near 2^63", """{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}""", 4, "overflows" },
        { "end beyond 2^63 - header", """{"a":{"dtype":"U8","shape":[0],"data_offsets":[9223372036854775807,9223372036854775807]}}""", 4, "end of the file" },
    };

    public static TheoryData<string, string, int, int> Accepted => new()
    {
        { "plain", OneFloat, 4, 1 },
        { "leading white space", " \n\t" + OneFloat, 4, 1 },
        { "padding spaces", OneFloat + "     ", 4, 1 },
        { "no tensors", "{}", 0, 0 },
        { "scalar", """{"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}""", 8, 1 },
        { "zero size", """{"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}""", 0, 1 },
        { "zero size in the middle", """{"c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", 2, 3 },
        { "JSON order is free", """{"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 6, 2 },
        { "metadata", """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, 1 },
        { "two 4-bit values", """{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}""", 1, 1 },
        { "four 6-bit values", """{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}""", 3, 1 },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void Open_RefusesAFileThatBreaksARule(string rule, string header, int dataBytes, string expected)
    {
        using var folder = new TempFolder();
        string path = folder.Write("bad.safetensors", FileBytes(Encoding.UTF8.GetBytes(header), dataBytes));
        string message = Refusal(path);
        Assert.True(message.Contains(expected, StringComparison.Ordinal), $"{rule}: {message}");
        Assert.Contains(path, message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Accepted))]
    public void Open_AcceptsAFileThatKeepsTheRules(string rule, string header, int dataBytes, int tensors)
    {
        using var folder = new TempFolder();
        string path = folder.Write("good.safetensors", FileBytes(Encoding.UTF8.GetBytes(header), dataBytes));
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.True(tensors == file.Entries.Count, rule);
        Assert.Equal(file.Entries.OrderBy(entry => entry.ByteOffset), file.Entries);
    }

    [Theory]
    [InlineData("F8_E4M3", 1)]
    [InlineData("F8_E5M2", 1)]
    [InlineData("F8_E8M0", 1)]
    [InlineData("F8_E4M3FNUZ", 1)]
    [InlineData("F8_E5M2FNUZ", 1)]
    [InlineData("BOOL", 1)]
    [InlineData("I8", 1)]
    [InlineData("I16", 2)]
    [InlineData("U16", 2)]
    [InlineData("F16", 2)]
    [InlineData("U32", 4)]
    [InlineData("U64", 8)]
    [InlineData("C64", 8)]
    public void Open_KnowsDTypesTheEngineDoesNotComputeWith(string dtype, int bytes)
    {
        using var folder = new TempFolder();
        string header = $$$"""{"a":{"dtype":"{{{dtype}}}","shape":[3],"data_offsets":[0,{{{3 * bytes}}}]}}""";
        using SafetensorsFile file = SafetensorsFile.Open(folder.Write("a", FileBytes(Encoding.UTF8.GetBytes(header), 3 * bytes)));
        Assert.Null(file.Entry("a").DType);
        Assert.Equal(dtype, file.Entry("a").DTypeName);
    }

    [Fact]
    public void Open_RefusesAMissingFile()
    {
        using var folder = new TempFolder();
        Assert.Contains("does not exist", Refusal(folder["none.safetensors"]), StringComparison.Ordinal);
    }

    [Fact]
    public void Open_RefusesAFileShorterThanItsLengthField()
    {
        using var folder = new TempFolder();
        Assert.Contains("7 bytes", Refusal(folder.Write("short", new byte[7])), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(100_000_001UL)]
    [InlineData(ulong.MaxValue)]
    [InlineData(0x8000_0000_0000_0000UL)]
    public void Open_RefusesAHugeHeaderBeforeAllocating(ulong claimed)
    {
        using var folder = new TempFolder();
        byte[] bytes = FileBytes("{}"u8, 0);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, claimed);
        Assert.Contains("limit", Refusal(folder.Write("huge", bytes)), StringComparison.Ordinal);
    }

    [Fact]
    public void Open_RefusesAHeaderLongerThanTheFile()
    {
        using var folder = new TempFolder();
        byte[] bytes = FileBytes("{}"u8, 0);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, 3);
        Assert.Contains("cut off", Refusal(folder.Write("long", bytes)), StringComparison.Ordinal);
    }

    [Fact]
    public void Open_RefusesInvalidUtf8()
    {
        using var folder = new TempFolder();
        byte[] header = Encoding.UTF8.GetBytes(OneFloat);
        header[2] = 0xFF;
        Assert.Contains("UTF-8", Refusal(folder.Write("utf", FileBytes(header, 4))), StringComparison.Ordinal);
    }

    [Fact]
    public void Open_OfAFileWithAnyByteChanged_ThrowsCleanlyOrReads()
    {
        using var folder = new TempFolder();
        byte[] good = FileBytes(Encoding.UTF8.GetBytes("""{"__metadata__":{"k":"v"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"""), 16);
        var random = new CounterRandom(11, 0);
        int refused = 0;
        for (int i = 0; i < 3000; i++)
        {
            byte[] changed = (byte[])good.Clone();
            int flips = 1 + (int)random.Below((ulong)(8 * i), 3);
            for (int flip = 0; flip < flips; flip++)
            {
                changed[random.Below((ulong)((8 * i) + (2 * flip) + 1), good.Length)] = (byte)random.Below((ulong)((8 * i) + (2 * flip) + 2), 256);
            }

            string path = folder.Write("fuzz", changed);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(path);
                foreach (SafetensorsEntry entry in file.Entries)
                {
                    file.ReadBytes(entry.Name, 0, new byte[entry.ByteCount]);
                }
            }
            catch (CheckpointFormatException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 1000, 2999);
    }

    [Fact]
    public void Open_OfAFileCutAnywhere_Refuses()
    {
        using var folder = new TempFolder();
        byte[] good = FileBytes(Encoding.UTF8.GetBytes(OneFloat), 4);
        for (int length = 0; length < good.Length; length++)
        {
            string path = folder.Write("cut", good[..length]);
            Assert.Throws<CheckpointFormatException>(() => SafetensorsFile.Open(path));
        }
    }

    private static string Refusal(string path) => Assert.Throws<CheckpointFormatException>(() => SafetensorsFile.Open(path)).Message;

    private static byte[] FileBytes(ReadOnlySpan<byte> header, int dataBytes)
    {
        var bytes = new byte[8 + header.Length + dataBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)header.Length);
        header.CopyTo(bytes.AsSpan(8));
        return bytes;
    }
}

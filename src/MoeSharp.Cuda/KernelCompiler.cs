using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>Compiles kernel text with NVRTC. Thread-safe; needs no GPU.</summary>
public static partial class KernelCompiler
{
    /// <summary>How to get NVRTC.</summary>
    internal const string WhereFrom = "Install the CUDA toolkit or the Python package nvidia-cuda-nvrtc-cu12, set MOESHARP_NVRTC, or ship kernels made by 'moe kernels build'.";

    private const int LoggedErrors = 5;

    /// <summary>Version of the NVRTC in use, as <c>12.4</c>.</summary>
    /// <exception cref="BackendUnavailableException">There is no NVRTC.</exception>
    public static string Version
    {
        get
        {
            Check(Call(() => Nvrtc.nvrtcVersion(out s_major, out s_minor)), "nvrtcVersion");
            return string.Create(CultureInfo.InvariantCulture, $"{s_major}.{s_minor}");
        }
    }

    private static int s_major;
    private static int s_minor;

    /// <summary>The architecture to compile for: the device's own, or PTX of the newest one before it that this NVRTC knows.</summary>
    /// <param name="major">Compute capability, major.</param>
    /// <param name="minor">Compute capability, minor.</param>
    public static unsafe string Architecture(int major, int minor)
    {
        int wanted = (10 * major) + minor;
        int count = 0;
        Check(Call(() => Nvrtc.nvrtcGetNumSupportedArchs(out count)), "nvrtcGetNumSupportedArchs");
        int[] known = new int[count];
        fixed (int* p = known)
        {
            Check(Nvrtc.nvrtcGetSupportedArchs(p), "nvrtcGetSupportedArchs");
        }

        if (known.Contains(wanted))
        {
            // NVRTC 11.8 knows 9.0, but not yet the name for what only this architecture has.
            return wanted == 90 && Version.StartsWith("11.", StringComparison.Ordinal) ? "sm_90" : NameOf(wanted);
        }

        int older = known.Where(arch => arch < wanted).DefaultIfEmpty(0).Max();
        return older >= 80
            ? string.Create(CultureInfo.InvariantCulture, $"compute_{older}")
            : throw new BackendUnavailableException($"NVRTC {Version} compiles for {string.Join(", ", known)}; the device needs {wanted}. Kernels need compute capability 8.0 or newer.");
    }

    /// <summary>The name of an architecture by its number: 90 is <c>sm_90a</c>, whose kernels use what only Hopper has.</summary>
    public static string NameOf(int architecture) => architecture == 90 ? "sm_90a" : string.Create(CultureInfo.InvariantCulture, $"sm_{architecture}");

    /// <summary>Compiles one key.</summary>
    /// <param name="key">File, constants and architecture.</param>
    /// <param name="log">The compiler's log, with the resources of every kernel when <paramref name="verbose"/>.</param>
    /// <param name="verbose">Ask for registers, spills and local memory in the log.</param>
    /// <returns>The cubin, or PTX for an architecture <c>compute_NN</c>.</returns>
    /// <exception cref="KernelCompileException">The text does not compile.</exception>
    /// <exception cref="BackendUnavailableException">There is no NVRTC.</exception>
    public static byte[] Compile(KernelKey key, out string log, bool verbose = false)
    {
        ArgumentNullException.ThrowIfNull(key);
        return Compile(key, KernelSources.Text(key.File), out log, verbose);
    }

    /// <summary>Compiles a text under the name of a key.</summary>
    internal static byte[] Compile(KernelKey key, string text, out string log, bool verbose = false)
    {
        (string[] names, string[] texts) = KernelSources.Headers;
        nint program = 0;
        Check(Call(() => Nvrtc.nvrtcCreateProgram(out program, text, key.File, names.Length, texts, names)), "nvrtcCreateProgram");
        try
        {
            string[] options = Options(key, verbose);
            int result = Nvrtc.nvrtcCompileProgram(program, options.Length, options);
            log = Log(program);
            if (result == Nvrtc.CompilationError)
            {
                throw new KernelCompileException($"Kernel {key} does not compile:{Excerpt(log, key.File, text)}", key, log);
            }

            Check(result, "nvrtcCompileProgram", $"Kernel {key}, options {string.Join(' ', options)}. {log}");
            return Image(program, ptx: key.Architecture.StartsWith("compute_", StringComparison.Ordinal));
        }
        finally
        {
            _ = Nvrtc.nvrtcDestroyProgram(ref program);
        }
    }

    /// <summary>What NVRTC is called with.</summary>
    internal static string[] Options(KernelKey key, bool verbose) =>
    [
        $"--gpu-architecture={key.Architecture}", "--std=c++17", "-default-device", "--generate-line-info",
        .. verbose ? ["--ptxas-options=-v"] : (string[])[],
        .. key.Constants.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(constant => "-D" + constant),
    ];

    /// <summary>The first errors of a log, each with its line of the source.</summary>
    internal static string Excerpt(string log, string file, string text)
    {
        var excerpt = new StringBuilder();
        foreach (Match match in ErrorLine().Matches(log).Take(LoggedErrors))
        {
            excerpt.Append(CultureInfo.InvariantCulture, $"{Environment.NewLine}  {match.Value.Trim()}");
            string name = match.Groups["file"].Value;
            string source = name.EndsWith(Path.GetFileName(file), StringComparison.Ordinal) ? text
                : KernelSources.Headers.Names.FirstOrDefault(header => name.EndsWith(header, StringComparison.Ordinal)) is { } header ? KernelSources.Text(header)
                : string.Empty;
            string? line = source.Split('\n').ElementAtOrDefault(int.Parse(match.Groups["line"].Value, CultureInfo.InvariantCulture) - 1);
            if (line is not null)
            {
                excerpt.Append(CultureInfo.InvariantCulture, $"{Environment.NewLine}      {line.Trim()}");
            }
        }

        return excerpt.Length > 0 ? excerpt.ToString() : Environment.NewLine + log;
    }

    private static unsafe string Log(nint program)
    {
        Check(Nvrtc.nvrtcGetProgramLogSize(program, out nuint size), "nvrtcGetProgramLogSize");
        byte[] bytes = new byte[size];
        fixed (byte* p = bytes)
        {
            Check(Nvrtc.nvrtcGetProgramLog(program, p), "nvrtcGetProgramLog");
        }

        return Encoding.UTF8.GetString(bytes).TrimEnd('\0').Trim();
    }

    private static unsafe byte[] Image(nint program, bool ptx)
    {
        Check(ptx ? Nvrtc.nvrtcGetPTXSize(program, out nuint size) : Nvrtc.nvrtcGetCUBINSize(program, out size), "nvrtcGetCUBINSize");
        byte[] image = new byte[size];
        fixed (byte* p = image)
        {
            Check(ptx ? Nvrtc.nvrtcGetPTX(program, p) : Nvrtc.nvrtcGetCUBIN(program, p), "nvrtcGetCUBIN");
        }

        return image;
    }

    private static int Call(Func<int> call)
    {
        try
        {
            return call();
        }
        catch (DllNotFoundException error)
        {
            throw new BackendUnavailableException($"Kernels have to be compiled, but there is no NVRTC. {WhereFrom}", error);
        }
        catch (EntryPointNotFoundException error)
        {
            throw new BackendUnavailableException($"{CudaLibraries.NvrtcPath} is no NVRTC of CUDA 11.2 or newer: {error.Message} {WhereFrom}", error);
        }
    }

    private static unsafe void Check(int result, string function, string? hint = null)
    {
        if (result != 0)
        {
            throw new CudaException($"{function} failed with {Marshal.PtrToStringUTF8((nint)Nvrtc.nvrtcGetErrorString(result))} ({result}). {hint}", result);
        }
    }

    [GeneratedRegex(@"^(?<file>[^\s(:]+)[(:](?<line>\d+)[):].*error.*$", RegexOptions.Multiline)]
    private static partial Regex ErrorLine();
}

using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace MoeSharp.Profiling;

/// <summary>How fast a GPU was clocked right after a measurement: without it a time says little about a kernel on a device that was throttled.</summary>
/// <param name="MultiprocessorMegahertz">Clock of the multiprocessors in MHz.</param>
/// <param name="MemoryMegahertz">Clock of the memory in MHz.</param>
public sealed record GpuClocks(int MultiprocessorMegahertz, int MemoryMegahertz)
{
    private const string Tool = "nvidia-smi";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    /// <summary>Asks nvidia-smi, which comes with the driver.</summary>
    /// <param name="pciBus">The device as the driver names it, <c>0000:01:00.0</c>.</param>
    /// <returns>The clocks; null where the tool is missing or does not know them.</returns>
    internal static GpuClocks? Read(string pciBus)
    {
        string[] query = ["--query-gpu=clocks.sm,clocks.mem", "--format=csv,noheader,nounits", "-i", pciBus];
        try
        {
            using Process? process = Process.Start(new ProcessStartInfo(Tool, query) { RedirectStandardOutput = true, RedirectStandardError = true });
            if (process is null)
            {
                return null;
            }

            Task<string> answer = process.StandardOutput.ReadToEndAsync(), complaint = process.StandardError.ReadToEndAsync();
            if (!process.WaitForExit(s_patience))
            {
                process.Kill();
                return null;
            }

            Task.WaitAll(answer, complaint);
            return process.ExitCode == 0 ? Parse(answer.Result) : null;
        }
        catch (Win32Exception)
        {
            return null; // not installed
        }
    }

    private static GpuClocks? Parse(string line)
    {
        string[] numbers = line.Trim().Split(',', StringSplitOptions.TrimEntries);
        return numbers.Length == 2 && Number(numbers[0], out int sm) && Number(numbers[1], out int memory) ? new(sm, memory) : null;
    }

    private static bool Number(string text, out int value) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}

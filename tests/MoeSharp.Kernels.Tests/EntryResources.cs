using System.Globalization;
using System.Text.RegularExpressions;

namespace MoeSharp.Kernels.Tests;

/// <summary>What one kernel costs on one architecture, as the assembler reports it.</summary>
/// <param name="Entry">Name of the kernel.</param>
/// <param name="Registers">Per thread.</param>
/// <param name="StackFrame">Bytes of local memory per thread.</param>
/// <param name="SpillStores">Bytes of spilled registers per thread, stored.</param>
/// <param name="SpillLoads">The same, loaded.</param>
/// <param name="StaticShared">Bytes of shared memory that the text declares.</param>
internal sealed partial record EntryResources(string Entry, int Registers, int StackFrame, int SpillStores, int SpillLoads, int StaticShared)
{
    /// <summary>Reads the log of a compilation with <c>--ptxas-options=-v</c>; functions that are no kernels are inlined and do not appear.</summary>
    public static IReadOnlyList<EntryResources> Parse(string log) =>
    [
        .. Block().Matches(log).Select(match => new EntryResources(
            match.Groups["entry"].Value, Number(match, "registers"), Number(match, "stack"), Number(match, "stores"), Number(match, "loads"), Number(match, "shared"))),
    ];

    private static int Number(Match match, string group) =>
        match.Groups[group].Success ? int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture) : 0;

    [GeneratedRegex(
        @"Function properties for (?<entry>\w+)\s+ptxas\s+\.\s+(?<stack>\d+) bytes stack frame, (?<stores>\d+) bytes spill stores, (?<loads>\d+) bytes spill loads\s+ptxas info\s+: Used (?<registers>\d+) registers(?:[^\n]*?(?<shared>\d+) bytes smem)?")]
    private static partial Regex Block();
}

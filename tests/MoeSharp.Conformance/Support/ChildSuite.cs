using System.Diagnostics;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>This suite, started again with other environment variables: what they decide is settled when a process starts.</summary>
internal static class ChildSuite
{
    /// <summary>Runs test classes in a process of their own; its failures are this test's.</summary>
    /// <param name="rules">The classes.</param>
    /// <param name="environment">Variables that the process gets on top of this one's.</param>
    /// <param name="what">What they make of it, for the message.</param>
    public static async Task RunAsync(IEnumerable<Type> rules, IReadOnlyDictionary<string, string> environment, string what)
    {
        string program = Environment.ProcessPath!;
        string[] self = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(ChildSuite).Assembly.Location] : [];
        var start = new ProcessStartInfo(program, [.. self, .. rules.SelectMany(rule => (string[])["--filter-class", rule.FullName!])])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        foreach (string variable in start.Environment.Keys.Where(name => name.StartsWith("TESTINGPLATFORM_", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(variable); // what ties this process to the program that started it
        }

        CancellationToken stop = TestContext.Current.CancellationToken;
        using Process child = Process.Start(start)!;
        Task<string> output = child.StandardOutput.ReadToEndAsync(stop), error = child.StandardError.ReadToEndAsync(stop);
        await child.WaitForExitAsync(stop).WaitAsync(TimeSpan.FromMinutes(5), stop);
        string[] failures = [.. (await output).Split('\n').Where(line => line.StartsWith("failed", StringComparison.Ordinal)).Take(5)];
        Assert.True(child.ExitCode == 0, $"With {what}: {string.Join("; ", failures)} {await error}");
    }
}

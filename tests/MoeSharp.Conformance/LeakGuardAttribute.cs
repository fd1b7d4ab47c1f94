using System.Reflection;
using MoeSharp.Core;
using Xunit.v3;

namespace MoeSharp.Conformance;

/// <summary>Fails every test after which more (or fewer) tensors live than before it, and shows where they were made.</summary>
/// <remarks>Stands on the assembly, so no test can forget it. It needs tests that run one at a time.</remarks>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class LeakGuardAttribute : BeforeAfterTestAttribute
{
    private readonly HashSet<string> _before = [];
    private long _live;

    /// <inheritdoc/>
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => Start();

    /// <inheritdoc/>
    public override void After(MethodInfo methodUnderTest, IXunitTest test) => Check();

    /// <summary>Remembers what lives now.</summary>
    internal void Start()
    {
        AllocationTracker.RecordOrigins = true;
        _live = AllocationTracker.LiveTensors;
        _before.Clear();
        _before.UnionWith(AllocationTracker.Report());
    }

    /// <summary>Compares with what lived at the start.</summary>
    /// <exception cref="LeakException">The number of live tensors changed.</exception>
    internal void Check()
    {
        long change = AllocationTracker.LiveTensors - _live;
        if (change == 0)
        {
            return;
        }

        string[] origins = [.. AllocationTracker.Report().Where(text => !_before.Contains(text))];
        throw new LeakException(
            $"The test changed the number of live tensors by {change}; dispose every tensor it makes.{Environment.NewLine}{string.Join(Environment.NewLine, origins)}");
    }
}

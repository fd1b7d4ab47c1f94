using System.Reflection;
using MoeSharp.Core;
using MoeSharp.Tests;
using Xunit;
using Xunit.v3;

// The counters of AllocationTracker belong to the process, so tests that are compared by them cannot overlap.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
[assembly: LeakGuard]

namespace MoeSharp.Tests;

/// <summary>Fails a test that leaves more or fewer live tensors than it found.</summary>
/// <remarks>
/// With <c>MOESHARP_TRACK_ALLOCATIONS=1</c> the message shows who made them. The window opens after the test class is made and closes
/// before it is disposed: what the class owns counts on both sides.
/// </remarks>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class LeakGuardAttribute : BeforeAfterTestAttribute
{
    // One value is enough: tests of this assembly run one after the other.
    private long _before;

    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => _before = AllocationTracker.LiveTensors;

    public override void After(MethodInfo methodUnderTest, IXunitTest test)
    {
        long after = AllocationTracker.LiveTensors;
        if (after != _before)
        {
            throw new InvalidOperationException(
                $"{test.TestDisplayName} started with {_before} live tensors and ended with {after}.{Environment.NewLine}"
                + string.Join(Environment.NewLine, AllocationTracker.Report()));
        }
    }
}

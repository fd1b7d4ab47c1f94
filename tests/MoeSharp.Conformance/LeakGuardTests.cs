using System.Reflection;
using MoeSharp.Core;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Conformance;

public sealed class LeakGuardTests
{
    [Fact]
    public void Check_ATensorIsLeft_ThrowsAndNamesItsOrigin()
    {
        using var backend = new ReferenceBackend();
        var guard = new LeakGuardAttribute();
        guard.Start();
        Tensor leaked = backend.Empty(3, 5);

        var exception = Assert.Throws<LeakException>(guard.Check);

        leaked.Dispose();
        Assert.Contains("Float64[3, 5]", exception.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(Check_ATensorIsLeft_ThrowsAndNamesItsOrigin), exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Check_AViewIsLeft_Throws()
    {
        using var backend = new ReferenceBackend();
        var guard = new LeakGuardAttribute();
        guard.Start();
        Tensor whole = backend.Empty(4);
        Tensor view = whole.View(new Shape(2));
        whole.Dispose();

        Assert.Throws<LeakException>(guard.Check);

        view.Dispose();
        guard.Check();
    }

    [Fact]
    public void Check_AForeignTensorIsDisposed_Throws()
    {
        using var backend = new ReferenceBackend();
        Tensor foreign = backend.Empty(2);
        var guard = new LeakGuardAttribute();
        guard.Start();
        foreign.Dispose();

        Assert.Throws<LeakException>(guard.Check);
    }

    [Fact]
    public void TheAssembly_CarriesTheGuard_AndRunsTestsOneAtATime()
    {
        Assembly assembly = typeof(LeakGuardTests).Assembly;
        Assert.NotNull(assembly.GetCustomAttribute<LeakGuardAttribute>());
        Assert.True(assembly.GetCustomAttribute<CollectionBehaviorAttribute>()?.DisableTestParallelization);
        Assert.True(AllocationTracker.RecordOrigins);
    }
}

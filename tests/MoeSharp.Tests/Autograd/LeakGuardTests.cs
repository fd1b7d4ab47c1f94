using System.Reflection;
using MoeSharp.Core;
using Xunit;
using Xunit.v3;

namespace MoeSharp.Tests;

public sealed class LeakGuardTests : AutogradTest
{
    [Fact]
    public void LeakGuard_FailsATestThatLeavesATensor()
    {
        var guard = new LeakGuardAttribute();
        var test = (IXunitTest)TestContext.Current.Test!;
        MethodInfo method = test.TestMethod.Method;
        guard.Before(method, test);
        using (Tensor leaked = Backend.Empty(3))
        {
            string message = Assert.Throws<InvalidOperationException>(() => guard.After(method, test)).Message;
            Assert.Contains(nameof(LeakGuard_FailsATestThatLeavesATensor), message, StringComparison.Ordinal);
        }

        guard.After(method, test);
    }
}

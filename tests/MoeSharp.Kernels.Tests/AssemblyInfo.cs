using MoeSharp.Kernels.Tests;
using Xunit;

[assembly: AssemblyFixture(typeof(KernelBuilds))]

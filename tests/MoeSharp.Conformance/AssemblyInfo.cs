using MoeSharp.Conformance;
using Xunit;

// One test at a time: the leak guard compares process-wide counts, and the CPU backend already uses every core.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
[assembly: LeakGuard]
[assembly: AssemblyFixture(typeof(BackendPool))]
[assembly: AssemblyFixture(typeof(CudaGrids))]

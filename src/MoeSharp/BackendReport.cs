using MoeSharp.Cuda;

namespace MoeSharp;

/// <summary>Which backend was chosen, why, and what was tried.</summary>
/// <param name="Requested">The device as it was asked for.</param>
/// <param name="Chosen">The backend in use.</param>
/// <param name="Reason">Why, in one sentence.</param>
/// <param name="Attempts">Attempts to load native libraries, in order; empty when none were needed.</param>
public sealed record BackendReport(string Requested, string Chosen, string Reason, IReadOnlyList<ProbeAttempt> Attempts);

namespace MoeSharp.Experiments;

/// <summary>How far an experiment is.</summary>
/// <param name="Done">Finished cells, those of earlier calls included.</param>
/// <param name="Total">Cells of the experiment.</param>
/// <param name="Phase">tuning, evaluation or timing.</param>
/// <param name="Last">The cell that just finished; null at the start.</param>
/// <param name="Loss">Its loss.</param>
/// <param name="Elapsed">Time of this call.</param>
/// <param name="Left">Estimate from the cells of this call; null before the first.</param>
internal sealed record ExperimentProgress(int Done, int Total, string Phase, CellKey? Last, double Loss, TimeSpan Elapsed, TimeSpan? Left);

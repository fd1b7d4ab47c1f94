namespace MoeSharp.Profiling;

/// <summary>The least that an op has to do.</summary>
/// <param name="Flops">Floating-point operations of the products: padding, null slots and recomputation are never counted.</param>
/// <param name="Bytes">Bytes moved when every operand moves once, twice where it is added to.</param>
internal readonly record struct OpWork(double Flops, double Bytes);

/// <summary>Work of every op of a MoE layer for one routing: forward 6 R d n operations, backward 12 R d n.</summary>
/// <param name="Tokens">T.</param>
/// <param name="Hidden">d.</param>
/// <param name="Width">n.</param>
/// <param name="TopK">K.</param>
/// <param name="Columns">Logit columns C.</param>
/// <param name="Rows">Real rows R.</param>
/// <param name="RealTokens">Tokens U with a real slot.</param>
/// <param name="ActiveExperts">Experts that have rows: only their weights must be read.</param>
/// <param name="Size">Bytes of a float.</param>
/// <param name="WideSize">Bytes of a wide float; weight gradients are read and written in it.</param>
internal sealed record LayerWork(
    double Tokens, double Hidden, double Width, double TopK, double Columns, double Rows, double RealTokens, double ActiveExperts, double Size, double WideSize)
{
    private double Rdn => Rows * Hidden * Width;

    private double Weights => ActiveExperts * Hidden * Width;

    public OpWork Gate => new(0, (Tokens * Columns * Size) + (Tokens * TopK * (4 + WideSize)));

    public OpWork Dispatch => new(0, (Tokens * TopK * (8 + WideSize)) + (Rows * (4 + WideSize)));

    public OpWork ExpertUp => new(4 * Rdn, Size * ((RealTokens * Hidden) + (2 * Weights) + (3 * Rows * Width)));

    public OpWork ExpertDown => new(2 * Rdn, Size * ((Rows * Width) + Weights + (Rows * Hidden)));

    public OpWork Combine => new(2 * Rows * Hidden, Size * ((Rows * Hidden) + (Tokens * Hidden)));

    public OpWork ExpertDownBackward => new(2 * Rdn, Size * ((RealTokens * Hidden) + Weights + (5 * Rows * Width)));

    public OpWork ExpertUpBackward => new(4 * Rdn, Size * ((2 * Rows * Width) + (2 * Weights) + (Rows * Hidden)));

    public OpWork CombineBackward => new(Rows * Hidden, Size * ((Rows * Hidden) + (Tokens * Hidden)));

    public OpWork GateBackward => new(0, (2 * Tokens * Columns * Size) + (Tokens * TopK * (4 + WideSize)));

    public OpWork ExpertDownWeightGrad => new(2 * Rdn, (Size * ((Rows * Width) + (RealTokens * Hidden))) + (2 * WideSize * Weights));

    public OpWork ExpertUpWeightGrad => new(4 * Rdn, (Size * ((2 * Rows * Width) + (RealTokens * Hidden))) + (4 * WideSize * Weights));
}

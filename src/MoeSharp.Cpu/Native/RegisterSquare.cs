namespace MoeSharp.Cpu;

/// <summary>Writes code that transposes sixteen registers of sixteen 32-bit numbers.</summary>
/// <remarks>
/// Four rounds of exchanges between two registers each, over distances 1, 2, 4 and 8: the first two mix the numbers of every 128-bit quarter, the last
/// two whole quarters. An exchange puts its lower result into a spare register and its upper one in place of an operand; the other operand
/// is the next spare one, so seventeen registers do.
/// </remarks>
internal sealed class RegisterSquare(X64Assembler code, int firstVector)
{
    private const int Side = 16;
    private readonly int[] _vectors = [.. Enumerable.Range(firstVector, Side)];
    private int _spare = firstVector + Side;

    /// <summary>After <see cref="Transpose"/> the register that holds number k of every line, in order of lines.</summary>
    /// <remarks>Unpacking leaves numbers 1 and 2 of a quarter in each other's place.</remarks>
    public int this[int k] => _vectors[(k & ~3) | ((k & 1) << 1) | ((k & 2) >> 1)];

    /// <summary>Lines i to i + 3: from memory[line + 0, 1, 2, 3 strides].</summary>
    public void Load(int i, Register line, Register stride, Register triple)
    {
        code.LoadVector(_vectors[i], line, 0);
        code.LoadVector(_vectors[i + 1], line, stride, 1);
        code.LoadVector(_vectors[i + 2], line, stride, 2);
        code.LoadVector(_vectors[i + 3], line, triple, 1);
    }

    /// <summary>All four rounds.</summary>
    public void Transpose()
    {
        Round(1, code.UnpackLow, code.UnpackHigh);
        Round(2, code.UnpackLowPairs, code.UnpackHighPairs);
        Round(4, Even, Odd);
        Round(8, Even, Odd);

        void Even(int to, int a, int b) => code.ShuffleQuarters(to, a, b, 0x88);

        void Odd(int to, int a, int b) => code.ShuffleQuarters(to, a, b, 0xDD);
    }

    private void Round(int distance, Action<int, int, int> low, Action<int, int, int> high)
    {
        for (int i = 0; i < Side; i++)
        {
            if ((i & distance) == 0)
            {
                (int a, int b) = (_vectors[i], _vectors[i + distance]);
                low(_spare, a, b);
                high(b, a, b);
                _vectors[i] = _spare;
                _spare = a;
            }
        }
    }
}

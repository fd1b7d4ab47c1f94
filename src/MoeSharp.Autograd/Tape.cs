using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Runs operations, remembers them, and walks them backward (reverse-mode differentiation, define by run).</summary>
/// <remarks>
/// <para>The problem: gradients of a model whose amount of work depends on the data, without memory traffic that is not arithmetic.
/// The difficulty: who owns a gradient that two branches share. The choices: every buffer comes from a <see cref="TensorPool"/>; the
/// first gradient that reaches a variable becomes its gradient without a copy, later ones are added to whichever of the two buffers
/// nobody else looks at; weight gradients are accumulated by the ops straight into <see cref="Parameter.Gradient"/>; a gradient goes
/// back to the pool as soon as its rule ran. Branches that lead to nothing trained are not recorded.</para>
/// <para>Lifetime: everything that a tape made is valid until <see cref="Reset"/>; use after that throws
/// <see cref="ObjectDisposedException"/>. Forward, backward, reset is one step; from the second equal step on no memory is allocated.
/// Not thread-safe. Deterministic: gradients are summed in reverse recording order.</para>
/// </remarks>
public sealed partial class Tape : IDisposable
{
    private readonly TensorPool _pool;
    private readonly List<TapeNode> _nodes = [];
    private bool _walked;

    /// <summary>Makes a tape with its own pool.</summary>
    /// <param name="backend">Computes every op.</param>
    /// <param name="record">False for inference: nothing is kept for backward.</param>
    public Tape(Backend backend, bool record = true)
    {
        Backend = backend;
        Recording = record;
        _pool = new TensorPool(backend);
    }

    /// <summary>Computes every op.</summary>
    public Backend Backend { get; }

    /// <summary>Whether ops are kept for backward.</summary>
    public bool Recording { get; }

    /// <summary>Fills every rented buffer with NaN first: a test switch that finds reads of what nobody wrote.</summary>
    public bool PoisonRented
    {
        get => _pool.Poison;
        set => _pool.Poison = value;
    }

    /// <summary>Bytes of backend memory that the tape's pool holds.</summary>
    public long PooledBytes => _pool.Bytes;

    /// <summary>Bytes of the values that are kept now: after forward, the outputs and what backward needs.</summary>
    public long KeptBytes => _pool.LentBytes;

    /// <summary>Lends a tensor with unspecified content, valid until <see cref="Reset"/>. Do not dispose it.</summary>
    public Tensor Rent(DType type, params ReadOnlySpan<long> shape) => _pool.Rent(type, shape);

    /// <summary>A value without gradient. The tensor is borrowed.</summary>
    public Variable Constant(Tensor value) => Leaf(value, requiresGradient: false);

    /// <summary>A leaf whose gradient is kept until <see cref="Reset"/>. The tensor is borrowed.</summary>
    public Variable Input(Tensor value) => Leaf(value, Recording);

    /// <summary>
    /// Says that a value is not needed any more. Without recording its memory is lent again at once, which keeps inference small;
    /// while recording, and for leaves, this does nothing.
    /// </summary>
    public void Release(Variable variable)
    {
        if (!Recording && _pool.Owns(variable.Raw))
        {
            _pool.Return(variable.Raw);
        }
    }

    /// <summary>Accumulates the gradient of a scalar into every parameter and leaf behind it. Once per <see cref="Reset"/>.</summary>
    /// <param name="loss">[1].</param>
    /// <param name="scale">Gradient of the loss itself: 1 / accumulation steps, or a loss scale.</param>
    /// <exception cref="InvalidOperationException">The tape does not record, or backward ran already.</exception>
    /// <exception cref="ArgumentException">The loss is no scalar, or depends on nothing that is trained.</exception>
    public void Backward(Variable loss, double scale = 1)
    {
        if (!Recording)
        {
            throw new InvalidOperationException("This tape was made with record: false; make a recording tape for backward.");
        }

        if (_walked)
        {
            throw new InvalidOperationException("Backward ran already on this tape; call Reset and run forward again, or add the losses.");
        }

        Guard.That(loss.Value.ElementCount == 1, $"Backward starts from one element, got {loss}.");
        Guard.That(loss.RequiresGradient, "The loss depends on no parameter and no input, so it has no gradient.");
        _walked = true;
        Tensor seed = RentLike(loss.Value);
        Backend.Fill(seed, scale);
        AddGradient(loss, seed);
        for (int i = _nodes.Count - 1; i >= 0; i--)
        {
            TapeNode node = _nodes[i];
            if (Array.Exists(node.Outputs, output => output.Gradient is not null))
            {
                GradientRules.Apply(new GradientFlow(this, node));
            }

            Release(node);
        }
    }

    /// <summary>Forgets all operations and takes every tensor back; the memory stays in the pool for the next step.</summary>
    public void Reset()
    {
        _nodes.Clear();
        _pool.Reset();
        _walked = false;
    }

    /// <summary>Frees the pool. Variables and rented tensors of this tape end here.</summary>
    public void Dispose()
    {
        _nodes.Clear();
        _pool.Dispose();
    }

    internal Tensor RentLike(Tensor tensor) => _pool.Rent(tensor.DType, [.. tensor.Shape]);

    internal Tensor Share(Tensor tensor, params ReadOnlySpan<long> shape) => _pool.Share(tensor, shape);

    internal bool IsExclusive(Tensor tensor) => _pool.IsExclusive(tensor);

    internal void Return(Tensor tensor) => _pool.Return(tensor);

    /// <summary>Takes over a pool tensor as (part of) the gradient of a variable; returns it when the variable needs none.</summary>
    internal void AddGradient(Variable variable, Tensor gradient)
    {
        if (!variable.RequiresGradient)
        {
            Return(gradient);
        }
        else if (variable.Gradient is not { } present)
        {
            variable.Gradient = gradient;
        }
        else if (IsExclusive(present))
        {
            Backend.Axpy(1, gradient, present);
            Return(gradient);
        }
        else
        {
            // Somebody else still reads the present buffer: the sum goes into the new one, or into a third when that is shared as well.
            Tensor sum = IsExclusive(gradient) ? gradient : RentLike(gradient);
            Backend.Add(present, gradient, sum);
            Return(present);
            if (!ReferenceEquals(sum, gradient))
            {
                Return(gradient);
            }

            variable.Gradient = sum;
        }
    }

    private Variable Leaf(Tensor value, bool requiresGradient)
    {
        Guard.That(
            ReferenceEquals(value.Backend, Backend),
            $"The tensor lives in the memory of backend '{value.Backend.Name}', the tape computes with another one, '{Backend.Name}'.");
        return new Variable(value, requiresGradient);
    }

    private void Release(TapeNode node)
    {
        foreach (Tensor saved in node.Saved)
        {
            Return(saved);
        }

        foreach (Variable output in node.Outputs)
        {
            if (output.Gradient is { } gradient)
            {
                output.Gradient = null;
                Return(gradient);
            }
        }
    }

    private Variable Record(
        TapeOp op,
        Tensor value,
        ReadOnlySpan<Variable> inputs,
        ReadOnlySpan<Parameter?> parameters,
        ReadOnlySpan<Tensor> saved,
        object? argument = null)
    {
        var output = new Variable(value, Needs(inputs, parameters));
        Record(op, [output], inputs, parameters, saved, argument);
        return output;
    }

    private void Record(
        TapeOp op,
        Variable[] outputs,
        ReadOnlySpan<Variable> inputs,
        ReadOnlySpan<Parameter?> parameters,
        ReadOnlySpan<Tensor> saved,
        object? argument)
    {
        if (outputs[0].RequiresGradient)
        {
            _nodes.Add(new TapeNode(op, inputs.ToArray(), parameters.ToArray(), outputs, saved.ToArray(), argument));
            return;
        }

        foreach (Tensor workspace in saved)
        {
            Return(workspace);
        }
    }

    private bool Needs(ReadOnlySpan<Variable> inputs, ReadOnlySpan<Parameter?> parameters)
    {
        bool needs = false;
        foreach (Variable input in inputs)
        {
            needs |= input.RequiresGradient;
        }

        foreach (Parameter? parameter in parameters)
        {
            needs |= parameter is not null;
        }

        return Recording && needs;
    }
}

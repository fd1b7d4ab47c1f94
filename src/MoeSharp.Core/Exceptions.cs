namespace MoeSharp.Core;

/// <summary>Base of every failure the engine reports that is not an argument mistake. Messages say what happened, with which values, what to do.</summary>
public class MoeSharpException : Exception
{
    /// <summary>Makes an exception.</summary>
    public MoeSharpException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>No backend could be made for a device; the message lists every probe and its result.</summary>
public sealed class BackendUnavailableException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>A checkpoint, configuration or run folder is not what it should be; the message names the file and the place.</summary>
public sealed class CheckpointFormatException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>A model type or option that this engine does not implement.</summary>
public sealed class UnsupportedModelException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>Training produced NaN or infinity, or cannot go on; the message names step, place and a hint.</summary>
public sealed class TrainingException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>Training or evaluation data that cannot be used; the message says which file and why.</summary>
public sealed class DataException(string message, Exception? inner = null) : MoeSharpException(message, inner);

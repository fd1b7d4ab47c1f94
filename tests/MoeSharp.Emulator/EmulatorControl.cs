using System.Runtime.InteropServices;

namespace MoeSharp.Emulator;

/// <summary>What the emulator tells and takes besides the driver API.</summary>
public static unsafe class EmulatorControl
{
    private static readonly Lazy<nint> s_library = new(() => NativeLibrary.Load(EmulatorBuild.Library ?? throw new InvalidOperationException(EmulatorBuild.Reason)));

    /// <summary>The last report of a check that failed, or an empty text.</summary>
    public static string Report => Marshal.PtrToStringUTF8(((delegate* unmanaged<nint>)Function("moesharp_emulator_report"))())!;

    /// <summary>Forgets the last report.</summary>
    public static void Forget() => ((delegate* unmanaged<void>)Function("moesharp_emulator_forget"))();

    /// <summary>Sets the seed of all schedules; 0 is plain order.</summary>
    public static void Seed(ulong seed) => ((delegate* unmanaged<ulong, void>)Function("moesharp_emulator_seed"))(seed);

    private static nint Function(string name) => NativeLibrary.GetExport(s_library.Value, name);
}

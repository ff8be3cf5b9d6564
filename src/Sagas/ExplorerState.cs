namespace Sagas;

/// <summary>One state of the world, unpacked.</summary>
internal struct Explored
{
    /// <summary>The state in the owner's memory, in the store, and in a node's memory that was taken over from (0: there is none).</summary>
    public int Memory, Stored, Stale;
    /// <summary>The node that was taken over from has read the store since.</summary>
    public bool StaleIsFresh;
    public int Crashes, Duplicates, Drops, Takeovers, Pauses;
    public uint[] Steps;

    public readonly void CopyTo(ref Explored other)
    {
        Steps.CopyTo(other.Steps, 0);
        var steps = other.Steps;
        other = this;
        other.Steps = steps;
    }
}

/// <summary>A step's participant and the messages to and from it, in 32 bits.</summary>
internal static class Cell
{
    public const uint RowMask = 3, RowNone = 0, RowStarted = 1, RowOk = 2, RowRefused = 3;
    public const uint InDoubt = 1 << 2;
    public const int SecondShift = 3, EffectShift = 6;
    public const uint SecondMask = 7u << SecondShift, EffectMask = 3u << EffectShift;
    public const uint NoSecond = 0, ConfirmBegun = 1u << SecondShift, Confirmed = 2u << SecondShift, UndoBegun = 3u << SecondShift, Undone = 4u << SecondShift, Fence = 5u << SecondShift;

    // Commands: of the attempt in flight, or an earlier one's (at most one earlier copy is told from none).
    public const int ForwardNow = 8, ForwardOld = 9, ConfirmNow = 10, ConfirmOld = 11, UndoNow = 12, UndoOld = 13, ProbeNow = 14, ProbeOld = 15;
    public const int FirstReply = 16, ForwardOk = 16, ForwardRefusedNow = 17, ForwardRefusedOld = 18, ForwardError = 19, ForwardBusy = 20,
        ConfirmOk = 21, ConfirmError = 22, UndoOk = 23, UndoError = 24, ForwardRefusedInDoubt = 25, ForwardBusyInDoubt = 26, Ends = 27;

    public static StepEffect Effect(uint cell) => (StepEffect)((cell & EffectMask) >> EffectShift);

    public static uint With(uint cell, StepEffect effect) => (cell & ~EffectMask) | ((uint)effect << EffectShift);

    public static uint Row(uint cell, uint row) => (cell & ~RowMask) | row;

    public static uint Second(uint cell, uint second) => (cell & ~SecondMask) | second;
}

namespace Sagas.Journal;

/// <summary>How a journal uses the disk, and whom it tells what it found when it opened.</summary>
public sealed class JournalOptions
{
    /// <summary>Size of one segment file; also the most one append may hold. 64 MiB by default.</summary>
    public long SegmentBytes { get; init; } = 64 << 20;

    /// <summary>
    /// Write segments full of zeros ahead of need, which doubles the rate of fsync and lets a full disk show early.
    /// True by default; without it files grow as they are written, there is no reserve and no early warning.
    /// </summary>
    public bool Preallocate { get; init; } = true;

    /// <summary>Space kept back to finish work with when the disk is full. 16 MiB by default; 0 keeps nothing back.</summary>
    public long ReserveBytes { get; init; } = 16 << 20;

    /// <summary>Told at opening when an unfinished last write was cut off. Null: nobody is told.</summary>
    public Action<JournalTornTail>? OnTornTail { get; init; }

    /// <summary>Told of what the journal survived but an operator should know, such as a damaged snapshot. Null: nobody is told.</summary>
    public Action<string>? OnWarning { get; init; }

    /// <summary>The clock, which when it is virtual has the writer's turns run instead of a thread.</summary>
    internal TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How long after a failed preallocation the next one is tried.</summary>
    internal TimeSpan SpaceRetry { get; init; } = TimeSpan.FromSeconds(5);

    internal void Validate()
    {
        if (SegmentBytes is < 512 or > 1 << 30)
            throw new ArgumentException($"SegmentBytes is {SegmentBytes}; it must lie between 512 bytes and 1 GiB.");
        if (ReserveBytes != 0 && ReserveBytes is < 512 or > 1 << 30)
            throw new ArgumentException($"ReserveBytes is {ReserveBytes}; it must be 0 or lie between 512 bytes and 1 GiB.");
    }
}

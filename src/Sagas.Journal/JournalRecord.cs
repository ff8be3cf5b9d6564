namespace Sagas.Journal;

/// <summary>Where a record lies; good for <see cref="SegmentedJournal.Read(JournalPosition)"/> until its segment is dropped.</summary>
/// <param name="Segment">Id of the segment; ids rise by one.</param>
/// <param name="Offset">Where the record's header starts in the segment's file.</param>
/// <param name="Length">Bytes of the payload.</param>
public readonly record struct JournalPosition(long Segment, long Offset, int Length);

/// <summary>A record met while the journal opens or is verified.</summary>
/// <param name="Position">Where it lies; default for a record of a snapshot, which cannot be read back.</param>
/// <param name="Sequence">Its number in the journal, from 1; 0 for a record of a snapshot.</param>
/// <param name="Payload">Its bytes, valid during the call only.</param>
public readonly record struct JournalRecord(JournalPosition Position, long Sequence, ReadOnlyMemory<byte> Payload)
{
    /// <summary>Whether the record was written by a snapshot, not appended.</summary>
    public bool FromSnapshot => Position.Segment == 0;
}

/// <summary>One segment file.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Bytes">Bytes in use.</param>
/// <param name="Active">Whether appends go to it; such a segment cannot be dropped.</param>
public readonly record struct JournalSegment(long Id, long Bytes, bool Active);

/// <summary>An unfinished last write that recovery cut off: nothing of it had been acknowledged.</summary>
/// <param name="File">Path of the segment.</param>
/// <param name="Offset">Where the cut was made.</param>
/// <param name="Bytes">How many bytes after it were zeroed.</param>
public readonly record struct JournalTornTail(string File, long Offset, long Bytes);

/// <summary>How the journal is at the moment.</summary>
/// <param name="Failure">Why the journal accepts nothing more, or null.</param>
/// <param name="LowSpace">The next segment could not be allocated: start nothing new, finish what is open.</param>
/// <param name="BytesOnDisk">Bytes of all segments, the spare one and the reserve.</param>
/// <param name="Segments">How many segments there are.</param>
/// <param name="Syncs">How many times appended records were brought to the disk since opening.</param>
public sealed record JournalHealth(Exception? Failure, bool LowSpace, long BytesOnDisk, int Segments, long Syncs)
{
    /// <summary>Whether the journal accepts nothing more.</summary>
    public bool Failed => Failure is not null;
}

using System.Buffers.Binary;
using System.Threading.Tasks.Sources;

namespace Sagas.Journal;

/// <summary>
/// The writer's thread. Callers copy their records into the buffer that is filling; the thread takes everything that has
/// gathered while it was busy, writes it with one write and one fsync, and completes the callers. An error of either ends
/// it for good: after a failed fsync nobody knows what is on the disk, and asking again would get a lie.
/// </summary>
sealed class GroupCommit
{
    const int KeptBufferBytes = 4 << 20;

    readonly SegmentSet segments;
    readonly string directory;
    readonly object gate = new();
    readonly Thread? thread;
    readonly VirtualTime? owner;
    byte[] filling = new byte[64 << 10], writing = new byte[64 << 10];
    int used;
    List<Pending> queued = [], taken = [];
    bool idle, closing;
    volatile Exception? failure;

    public GroupCommit(SegmentSet segments, string directory, TimeProvider time)
    {
        (this.segments, this.directory, owner) = (segments, directory, time as VirtualTime);
        WriteMark();
        if (owner is not null)
        {
            owner.Queue(RunTurns);
            return;
        }

        thread = new Thread(Run) { IsBackground = true, Name = "journal writer" };
        thread.Start();
    }

    public Exception? Failure => failure;

    public Pending Append(ReadOnlySpan<byte> record, bool sync)
    {
        Check(Format.LongFrameBytes(record.Length));
        var frame = Format.FrameBytes(record.Length);
        lock (gate)
        {
            Reserve(frame);
            var pending = Enqueue(new Pending(used, frame, sync, 0, inline: owner is not null));
            Put(record, last: true);
            return pending;
        }
    }

    public Pending Append(IReadOnlyList<ReadOnlyMemory<byte>> records, bool sync)
    {
        // A copy: the list is the caller's, and its lengths are added up before they are used.
        ReadOnlyMemory<byte>[] copy = [.. records];
        if (copy.Length == 0) throw new ArgumentException("An append needs at least one record.", nameof(records));
        var total = copy.Sum(record => Format.LongFrameBytes(record.Length));
        Check(total);
        lock (gate)
        {
            Reserve((int)total);
            var pending = Enqueue(new Pending(used, (int)total, sync, copy.Length, inline: owner is not null));
            for (var i = 0; i < copy.Length; i++) Put(copy[i].Span, last: i == copy.Length - 1);
            return pending;
        }
    }

    /// <summary>Runs on the writer's thread, after everything appended before this call and before everything appended after.</summary>
    public Pending Do(Action action)
    {
        lock (gate) return Enqueue(new Pending(action, inline: owner is not null));
    }

    /// <summary>Writes what is queued, then ends the thread.</summary>
    public void Close()
    {
        lock (gate)
        {
            closing = true;
            Monitor.PulseAll(gate);
        }

        if (owner is null) thread!.Join();
        else
            while (Turn()) { }
    }

    void Check(long bytes)
    {
        if (bytes > segments.MostBytes)
            throw new ArgumentException($"The append takes {bytes} bytes, but a segment holds no more than {segments.MostBytes}. Raise SegmentBytes or append less at once.");
    }

    Pending Enqueue(Pending pending)
    {
        if (failure is not null) throw new JournalFailedException(directory, failure, outcomeUnknown: false);
        ObjectDisposedException.ThrowIf(closing, typeof(SegmentedJournal));
        queued.Add(pending);
        if (!idle) return pending;
        if (owner is null) Monitor.Pulse(gate);
        else
        {
            idle = false;
            owner.Queue(RunTurns);
        }

        return pending;
    }

    void Reserve(int bytes)
    {
        if (filling.Length - used < bytes) Array.Resize(ref filling, checked((int)Math.Min(Array.MaxLength, Math.Max(2L * filling.Length, (long)used + bytes))));
    }

    void Put(ReadOnlySpan<byte> record, bool last)
    {
        var frame = filling.AsSpan(used, Format.FrameBytes(record.Length));
        Format.WriteRecordStart(frame, record.Length, RecordKind.Data, last);
        record.CopyTo(frame[Format.RecordHeaderBytes..]);
        frame[(Format.RecordHeaderBytes + record.Length)..].Clear();
        used += frame.Length;
    }

    void Run()
    {
        while (Turn()) { }
    }

    /// <summary>One turn on virtual time, and the next one when there may be more to do.</summary>
    void RunTurns()
    {
        if (Turn() && owner is not null) owner.Queue(RunTurns);
    }

    /// <summary>False at the end; on virtual time also when there is nothing to do.</summary>
    bool Turn()
    {
        try
        {
            if (failure is not null) return false;
            if (!Take())
            {
                if (closing) WriteMark();
                return false;
            }

            Process();
            if (taken.Count == 0 || segments.Spare.IsBehind(segments.Tail)) segments.Spare.Step();
            taken.Clear();
            return true;
        }
        catch (Exception error)
        {
            Fail(error);
            return false;
        }
    }

    /// <summary>Waits for work and takes all there is; returns with nothing when there is time for the spare. False at the end.</summary>
    bool Take()
    {
        lock (gate)
        {
            while (queued.Count == 0 && !closing && !segments.Spare.HasWork)
            {
                idle = true;
                if (owner is not null) return false;
                if (segments.Spare.LowSpace) Monitor.Wait(gate, 1000);
                else Monitor.Wait(gate);
                idle = false;
            }

            if (queued.Count == 0 && closing) return false;
            (queued, taken) = (taken, queued);
            (filling, writing) = (writing, filling);
            used = 0;
            if (filling.Length > KeptBufferBytes) filling = new byte[64 << 10];
            return true;
        }
    }

    void Process()
    {
        for (var i = 0; i < taken.Count;)
        {
            if (taken[i].Action is { } action)
            {
                action();
                taken[i++].Complete();
                continue;
            }

            if (taken[i].Bytes > segments.Room) segments.Rotate();
            if (taken[i].Bytes > segments.Room)
                throw new IOException($"The segment has room for {segments.Room} bytes, the append takes {taken[i].Bytes}.", DiskErrors.NoSpace);
            var end = i;
            long room = segments.Room;
            while (end < taken.Count && taken[end].Action is null && taken[end].Bytes <= room) room -= taken[end++].Bytes;
            Commit(i, end);
            i = end;
        }
    }

    void Commit(int from, int to)
    {
        var start = taken[from].Start;
        var length = taken[to - 1].Start + taken[to - 1].Bytes - start;
        var sync = false;
        var offset = segments.Tail;
        for (var i = from; i < to; i++)
        {
            sync |= taken[i].Sync;
            Place(taken[i], offset);
            offset += taken[i].Bytes;
        }

        segments.Write(writing.AsSpan(start, length));
        if (sync) segments.Sync();
        for (var i = from; i < to; i++) taken[i].Complete();
    }

    /// <summary>Gives each record of the call its place in the file and in the chain.</summary>
    void Place(Pending pending, long offset)
    {
        var bytes = writing.AsSpan(pending.Start, pending.Bytes);
        for (var record = 0; bytes.Length > 0; record++)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(bytes);
            segments.Chain = Format.WriteRecordPlace(bytes, Format.Seed(segments.Journal, segments.ActiveId, offset),
                segments.Sequence++, segments.Chain, segments.Durable);
            pending.SetPosition(record, new JournalPosition(segments.ActiveId, offset, length));
            offset += Format.FrameBytes(length);
            bytes = bytes[Format.FrameBytes(length)..];
        }
    }

    /// <summary>A record of the journal's own: it proves what lies before it and carries the epoch.</summary>
    void WriteMark()
    {
        Span<byte> frame = stackalloc byte[Format.FrameBytes(8)];
        frame.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(frame[Format.RecordHeaderBytes..], segments.Epoch);
        if (segments.Durable < segments.Tail) segments.Sync();
        // A full segment goes without: on a full disk a new one could not be had, and opening must succeed all the same.
        if (segments.Room < frame.Length) return;
        Format.WriteRecordStart(frame, 8, RecordKind.Mark, lastOfCall: true);
        segments.Chain = Format.WriteRecordPlace(frame, Format.Seed(segments.Journal, segments.ActiveId, segments.Tail),
            segments.Sequence++, segments.Chain, segments.Durable);
        segments.Write(frame);
        segments.Sync();
    }

    void Fail(Exception error)
    {
        var unknown = new JournalFailedException(directory, error, outcomeUnknown: true);
        lock (gate)
        {
            failure = error;
            taken.AddRange(queued);
            queued = [];
        }

        // Those completed before the error keep what they were told.
        foreach (var pending in taken) pending.Fail(unknown);
    }
}

/// <summary>One call that waits: an append, or an action for the writer's thread.</summary>
sealed class Pending : IValueTaskSource<JournalPosition>, IValueTaskSource<JournalPosition[]>, IValueTaskSource
{
    readonly JournalPosition[]? positions;
    JournalPosition position;
    ManualResetValueTaskSourceCore<bool> core;
    bool done;

    public Pending(int start, int bytes, bool sync, int records, bool inline)
    {
        (Start, Bytes, Sync) = (start, bytes, sync);
        core.RunContinuationsAsynchronously = !inline;
        if (records > 0) positions = new JournalPosition[records];
    }

    public Pending(Action action, bool inline)
    {
        Action = action;
        core.RunContinuationsAsynchronously = !inline;
    }

    public Action? Action { get; }

    public int Start { get; }

    public int Bytes { get; }

    public bool Sync { get; }

    public ValueTask<JournalPosition> One => new(this, core.Version);

    public ValueTask<JournalPosition[]> Many => new(this, core.Version);

    public ValueTask Done => new(this, core.Version);

    public void SetPosition(int record, JournalPosition at)
    {
        if (positions is null) position = at;
        else positions[record] = at;
    }

    public void Complete()
    {
        done = true;
        core.SetResult(true);
    }

    public void Fail(Exception error)
    {
        if (done) return;
        done = true;
        core.SetException(error);
    }

    JournalPosition IValueTaskSource<JournalPosition>.GetResult(short token)
    {
        core.GetResult(token);
        return position;
    }

    JournalPosition[] IValueTaskSource<JournalPosition[]>.GetResult(short token)
    {
        core.GetResult(token);
        return positions!;
    }

    void IValueTaskSource.GetResult(short token) => core.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<JournalPosition>.GetStatus(short token) => core.GetStatus(token);

    ValueTaskSourceStatus IValueTaskSource<JournalPosition[]>.GetStatus(short token) => core.GetStatus(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => core.GetStatus(token);

    void IValueTaskSource<JournalPosition>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);

    void IValueTaskSource<JournalPosition[]>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);
}

using System.Collections.Concurrent;

namespace Sagas.Journal;

/// <summary>
/// A durable append-only log of opaque records in segment files.
/// </summary>
/// <remarks>
/// <para>Appends of all callers share one write and one fsync; whoever awaits <c>AppendAsync</c> knows the records are on the disk.</para>
/// <para>Start-up stays short by snapshots: <see cref="SnapshotAsync"/> begins a new segment and has the caller write its state
/// as of that point into a file. Opening replays the newest intact snapshot and the segments since.</para>
/// <para>The disk does not grow for ever by <see cref="DropSegmentsBeforeAsync"/>: the caller appends again what still lives in
/// the oldest segments, takes snapshots as it goes, and drops. The two newest snapshots are kept with all segments since
/// the older one, so that one damaged snapshot costs time and nothing else; until there are two, nothing is dropped.</para>
/// </remarks>
public sealed class SegmentedJournal : IAsyncDisposable
{
    // Handles for reading back; more than this are closed again.
    const int KeptReaders = 128;

    readonly IJournalFiles files;
    readonly string directory;
    readonly IDisposable lockFile;
    readonly SegmentSet segments;
    readonly GroupCommit commit;
    readonly TimeProvider time;
    readonly ConcurrentDictionary<long, IJournalFile> readers = new();
    readonly Lock snapshotGate = new();
    readonly List<long> snapshots;
    int snapshotting, disposed;
    Task snapshot = Task.CompletedTask;

    SegmentedJournal(IJournalFiles files, string directory, IDisposable lockFile, SegmentSet segments, List<long> snapshots, TimeProvider time)
    {
        (this.files, this.directory, this.lockFile, this.segments, this.snapshots, this.time) = (files, directory, lockFile, segments, snapshots, time);
        commit = new GroupCommit(segments, directory, time);
    }

    /// <summary>Opens the journal in the directory, creating both when they are missing.</summary>
    /// <param name="directory">A directory of the journal's own, on a local disk.</param>
    /// <param name="options">How to use the disk.</param>
    /// <param name="replay">
    /// Called with the records of the newest snapshot, then with those appended since, in order. What was appended while
    /// the snapshot's state was being captured can be in both, and a record appended again can come twice.
    /// </param>
    /// <param name="files">The file system; null is the machine's.</param>
    /// <exception cref="JournalLockedException">Somebody has the directory.</exception>
    /// <exception cref="JournalCorruptException">Something durable is damaged or missing. Nothing was changed.</exception>
    /// <exception cref="JournalVersionException">Another version's format.</exception>
    public static SegmentedJournal Open(string directory, JournalOptions options, Action<JournalRecord> replay, IJournalFiles? files = null)
    {
        options.Validate();
        files ??= new RealFiles();
        files.CreateDirectory(directory);
        if (files is RealFiles && RealFiles.NetworkFormat(directory) is { } format)
            options.OnWarning?.Invoke($"The journal in '{directory}' lies on a network file system ({format}): its locks and fsync may not hold. Use a local disk.");
        IDisposable lockFile;
        try
        {
            lockFile = files.Lock(Path.Combine(directory, "lock"));
        }
        catch (IOException error) when (!DiskErrors.IsFull(error))
        {
            throw new JournalLockedException(directory, error);
        }

        SegmentSet? segments = null;
        try
        {
            (segments, var snapshots) = Recovery.Run(files, directory, options, replay);
            return new SegmentedJournal(files, directory, lockFile, segments, snapshots, options.Time);
        }
        catch
        {
            segments?.Dispose();
            lockFile.Dispose();
            throw;
        }
    }

    /// <summary>How often the journal has been opened: who holds a higher one came later.</summary>
    public long Epoch => segments.Epoch;

    /// <summary>How the journal is.</summary>
    public JournalHealth Health => new(commit.Failure, segments.Spare.LowSpace, segments.BytesOnDisk, segments.Count, segments.Syncs);

    /// <summary>The segments, oldest first; the last is the one appends go to.</summary>
    public IReadOnlyList<JournalSegment> Segments => segments.List();

    /// <summary>The oldest segment there is; positions in earlier ones have gone.</summary>
    public long FirstSegment => segments.First;

    /// <summary>
    /// Appends a record and completes when it is on the disk. The bytes are copied before the call returns, and calls made
    /// one after the other are written in that order.
    /// </summary>
    /// <param name="record">The bytes.</param>
    /// <param name="sync">False: complete when the record is written and leave it to a later fsync to make it durable.</param>
    /// <returns>Where it lies. To be awaited once.</returns>
    /// <exception cref="JournalFailedException">The disk refused; nothing more is accepted.</exception>
    public ValueTask<JournalPosition> AppendAsync(ReadOnlyMemory<byte> record, bool sync = true)
    {
        try
        {
            return commit.Append(record.Span, sync).One;
        }
        catch (JournalFailedException error)
        {
            return ValueTask.FromException<JournalPosition>(error);
        }
    }

    /// <summary>Appends records side by side: after a crash all of them are there or none.</summary>
    /// <inheritdoc cref="AppendAsync(ReadOnlyMemory{byte}, bool)"/>
    /// <param name="records">The records, at least one, together no larger than a segment.</param>
    /// <param name="sync">As for one record.</param>
    public ValueTask<JournalPosition[]> AppendAsync(IReadOnlyList<ReadOnlyMemory<byte>> records, bool sync = true)
    {
        try
        {
            return commit.Append(records, sync).Many;
        }
        catch (JournalFailedException error)
        {
            return ValueTask.FromException<JournalPosition[]>(error);
        }
    }

    /// <summary>Reads a record back.</summary>
    /// <exception cref="KeyNotFoundException">Its segment was dropped.</exception>
    /// <exception cref="JournalCorruptException">It is damaged.</exception>
    public byte[] Read(JournalPosition position)
    {
        var frame = new byte[Format.RecordHeaderBytes + position.Length];
        var path = Path.Combine(directory, Format.SegmentName(position.Segment));
        int read;
        while (true)
        {
            ObjectDisposedException.ThrowIf(disposed != 0, this);
            try
            {
                read = Reader(position.Segment, path).Read(position.Offset, frame);
                break;
            }
            catch (ObjectDisposedException)
            {
                // Somebody else's reading closed the handle, or the segment was dropped: look again.
            }
        }

        if (read < frame.Length
            || !Format.ReadRecordHeader(frame, Format.Seed(segments.Journal, position.Segment, position.Offset), out var record)
            || record.Length != position.Length
            || Format.Crc(frame.AsSpan(Format.RecordHeaderBytes)) != record.PayloadCrc)
            throw new JournalCorruptException(path, position.Offset, $"there is no intact record of {position.Length} bytes",
                "If the position is right, restore the file from a backup.");
        return frame[Format.RecordHeaderBytes..];
    }

    /// <summary>
    /// Begins a new segment and writes a snapshot of the caller's state as of that point, so that opening need not replay
    /// what lies before. Everything appended before this call is before the point. Appends go on meanwhile.
    /// </summary>
    /// <param name="write">
    /// Writes the state, on another thread, after everything appended before this call has completed. The state must hold all
    /// of that; it may hold later appends too if replaying them onto it changes nothing.
    /// </param>
    /// <param name="ready">Awaited before, when everything appended before this call has completed. Null: write at once.</param>
    /// <remarks>An error leaves the journal as it was, without the snapshot; a failure of the disk in beginning the segment does not.</remarks>
    /// <exception cref="InvalidOperationException">Another snapshot is being written.</exception>
    public Task SnapshotAsync(Action<SnapshotWriter> write, Func<Task>? ready = null)
    {
        if (Interlocked.Exchange(ref snapshotting, 1) != 0)
            throw new InvalidOperationException("A snapshot is being written. Wait for it before the next one.");
        SegmentHeader point = default;
        Pending rotated;
        try
        {
            rotated = commit.Do(() =>
            {
                var (end, chain, sequence) = (segments.Tail, segments.Chain, segments.Sequence);
                segments.Rotate();
                point = new SegmentHeader(segments.Journal, segments.ActiveId, sequence, end, segments.Capacity, chain);
            });
        }
        catch (Exception error)
        {
            snapshotting = 0;
            return Task.FromException(error);
        }

        return snapshot = time.Run(async () =>
        {
            try
            {
                await rotated.Done.ConfigureAwait(false);
                if (ready is not null) await ready().ConfigureAwait(false);
                WriteSnapshot(point, write);
            }
            finally
            {
                Volatile.Write(ref snapshotting, 0);
            }
        });
    }

    /// <summary>
    /// Deletes the segments below the id, as far as the two kept snapshots allow. What still lives in them must have been
    /// appended again, or be held by both snapshots.
    /// </summary>
    /// <returns>The oldest segment that remains.</returns>
    public async Task<long> DropSegmentsBeforeAsync(long segment)
    {
        lock (snapshotGate) segment = snapshots.Count < 2 ? 0 : Math.Min(segment, snapshots[^2]);
        List<long> gone = [];
        await commit.Do(() =>
        {
            gone = segments.Forget(segment);
            segments.Spare.Hope();
        }).Done.ConfigureAwait(false);
        foreach (var id in gone)
        {
            if (readers.TryRemove(id, out var reader)) reader.Dispose();
            files.Delete(Path.Combine(directory, Format.SegmentName(id)));
        }

        return FirstSegment;
    }

    /// <summary>Writes what is queued, waits for a snapshot under way, closes the files and gives the directory back.</summary>
    public ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref disposed, 1) != 0) return ValueTask.CompletedTask;
        return new ValueTask(time.Run(async () =>
        {
            commit.Close();
            // A snapshot under way writes into the directory, so it comes to its end before another may have that.
            await snapshot.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            segments.Dispose();
            foreach (var reader in readers.Values) reader.Dispose();
            lockFile.Dispose();
        }));
    }

    IJournalFile Reader(long segment, string path)
    {
        if (readers.TryGetValue(segment, out var reader)) return reader;
        if (segment < FirstSegment) throw Gone(segment);
        try
        {
            reader = files.Open(path, write: false);
        }
        catch (FileNotFoundException)
        {
            throw Gone(segment);
        }

        if (!readers.TryAdd(segment, reader))
        {
            reader.Dispose();
            return Reader(segment, path);
        }

        if (readers.Count > KeptReaders)
            foreach (var id in readers.Keys)
                if (id != segment && readers.TryRemove(id, out var other))
                {
                    other.Dispose();
                    break;
                }

        return reader;
    }

    static KeyNotFoundException Gone(long segment) =>
        new($"Segment {segment} is not in the journal any more: it was dropped together with what it held.");

    void WriteSnapshot(in SegmentHeader point, Action<SnapshotWriter> write)
    {
        var path = Path.Combine(directory, Format.SnapshotName(point.Id));
        try
        {
            using (var file = files.Create(path + ".tmp"))
            {
                var writer = new SnapshotWriter(file, point);
                write(writer);
                writer.Finish();
            }

            files.Rename(path + ".tmp", path);
            files.SyncDirectory(directory);
        }
        catch
        {
            try
            {
                files.Delete(path + ".tmp");
            }
            catch (IOException)
            {
                // Opening sweeps it up.
            }

            throw;
        }

        List<long> old;
        lock (snapshotGate)
        {
            snapshots.Add(point.Id);
            old = [.. snapshots.Take(snapshots.Count - 2)];
            snapshots.RemoveRange(0, old.Count);
        }

        foreach (var id in old) files.Delete(Path.Combine(directory, Format.SnapshotName(id)));
    }
}

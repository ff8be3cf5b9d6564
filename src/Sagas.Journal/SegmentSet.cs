namespace Sagas.Journal;

/// <summary>
/// The segment files and the one that is written to. Used by one thread at a time (opening, then the writer's), except
/// for the lists it shows to others. Every step leaves a directory that <see cref="Recovery"/> understands:
/// a segment is whole and in the directory before the manifest counts it, and counted before it holds a record.
/// </summary>
sealed class SegmentSet : IDisposable
{
    readonly IJournalFiles files;
    readonly string directory;
    readonly JournalOptions options;
    readonly Lock gate = new();
    readonly SortedList<long, long> ended;
    readonly ulong journal;
    IJournalFile manifestFile;
    Manifest manifest;
    IJournalFile? active;
    long capacity, declared;
    volatile Tuple<long, long> place = Tuple.Create(0L, 0L);

    public Spare Spare { get; }

    public long ActiveId { get; private set; }

    public long Tail { get; private set; }

    /// <summary>Everything in the active segment below this is durable.</summary>
    public long Durable { get; private set; }

    public long Sequence { get; set; }

    public uint Chain { get; set; }

    public long Syncs { get; private set; }

    public ulong Journal => journal;

    public long Epoch => manifest.Epoch;

    public long Room => capacity - Tail;

    /// <summary>The length the header of the active segment states.</summary>
    public long Capacity => declared;

    /// <summary>The most a call may hold.</summary>
    public long MostBytes => options.SegmentBytes - Format.SegmentHeaderBytes;

    public SegmentSet(IJournalFiles files, string directory, JournalOptions options, Manifest manifest, SortedList<long, long> ended)
    {
        (this.files, this.directory, this.options, this.manifest, this.ended) = (files, directory, options, manifest, ended);
        journal = manifest.Journal;
        Spare = new Spare(files, directory, options);
        manifestFile = files.Open(Path.Combine(directory, Manifest.Name), write: true);
    }

    public long First { get { lock (gate) return manifest.First; } }

    /// <summary>Goes on in a segment that recovery found.</summary>
    public void Continue(long id, in SegmentScan scan, ReadOnlySpan<byte> bytes, Action<JournalTornTail>? onTornTail)
    {
        var path = Path.Combine(directory, Format.SegmentName(id));
        active = files.Open(path, write: true);
        var length = active.Length;
        capacity = options.Preallocate ? Math.Max(length, Format.SegmentHeaderBytes) : options.SegmentBytes;
        if (scan.GarbageEnd > scan.End)
        {
            active.Write(scan.End, new byte[scan.GarbageEnd - scan.End]);
            onTornTail?.Invoke(new JournalTornTail(path, scan.End, scan.GarbageEnd - scan.End));
        }

        // Written again, because a failed fsync may have left pages in the cache that look clean and are not on the disk.
        if (scan.End > scan.Proven) active.Write(scan.Proven, bytes[(int)scan.Proven..(int)scan.End]);
        active.Sync();
        (ActiveId, Tail, Durable, Sequence, Chain) = (id, scan.End, scan.End, scan.NextSequence, scan.Chain);
        Show();
    }

    public void WriteManifest(Manifest changed)
    {
        changed = changed with { Generation = manifest.Generation + 1 };
        changed.Write(manifestFile);
        lock (gate) manifest = changed;
    }

    public void RaiseEpoch(long epoch) => WriteManifest(manifest with { Epoch = epoch, Last = Math.Max(manifest.Last, ActiveId) });

    public void Write(ReadOnlySpan<byte> bytes)
    {
        active!.Write(Tail, bytes);
        Tail += bytes.Length;
        Show();
    }

    public void Sync()
    {
        active!.Sync();
        Durable = Tail;
        Syncs++;
    }

    /// <summary>Ends the active segment and begins the next.</summary>
    public void Rotate()
    {
        if (active is not null && Durable < Tail) Sync();
        var id = ActiveId == 0 ? manifest.First : ActiveId + 1;
        var (path, length) = options.Preallocate ? Spare.Take() : (Path.Combine(directory, Spare.NextName + ".tmp"), 0);
        var file = options.Preallocate ? files.Open(path, write: true) : files.Create(path);
        Span<byte> header = stackalloc byte[Format.SegmentHeaderBytes];
        Format.WriteSegmentHeader(header, new SegmentHeader(journal, id, Sequence, ActiveId == 0 ? 0 : Tail, length, Chain));
        file.Write(0, header);
        file.Sync();
        files.Rename(path, Path.Combine(directory, Format.SegmentName(id)));
        files.SyncDirectory(directory);
        WriteManifest(manifest with { Last = id });
        if (active is not null)
        {
            lock (gate) ended[ActiveId] = Tail;
            try
            {
                active.SetLength(Tail);
            }
            catch (IOException)
            {
                // The zeros behind the last record only cost space.
            }

            active.Dispose();
        }

        active = file;
        capacity = length == 0 ? options.SegmentBytes : length;
        declared = length;
        ActiveId = id;
        Tail = Durable = Format.SegmentHeaderBytes;
        Show();
    }

    /// <summary>Makes it durable that the segments below are not needed; deletes them afterwards, off this thread.</summary>
    public List<long> Forget(long before)
    {
        List<long> gone;
        lock (gate) gone = [.. ended.Keys.Where(id => id < before)];
        if (gone.Count == 0) return gone;
        WriteManifest(manifest with { First = gone[^1] + 1 });
        lock (gate)
            foreach (var id in gone) ended.Remove(id);
        return gone;
    }

    /// <summary>How many there are; asked far more often than what they are.</summary>
    public int Count
    {
        get { lock (gate) return ended.Count + (ended.ContainsKey(place.Item1) ? 0 : 1); }
    }

    public IReadOnlyList<JournalSegment> List()
    {
        lock (gate)
        {
            var (id, tail) = place;
            return [.. ended.Where(segment => segment.Key != id).Select(segment => new JournalSegment(segment.Key, segment.Value, false)),
                new JournalSegment(id, tail, true)];
        }
    }

    public long BytesOnDisk
    {
        get
        {
            lock (gate) return ended.Values.Sum() + (options.Preallocate ? capacity : place.Item2) + Spare.BytesOnDisk;
        }
    }

    public void Dispose()
    {
        active?.Dispose();
        manifestFile.Dispose();
        Spare.Abandon();
    }

    void Show()
    {
        if (place.Item1 != ActiveId) lock (gate) place = Tuple.Create(ActiveId, Tail);
        else place = Tuple.Create(ActiveId, Tail);
    }
}

namespace Sagas.Journal;

/// <summary>What lies in a journal's directory, checked against the manifest. Reads only, so that a refusal changes nothing.</summary>
sealed class Inventory
{
    const string RestoreAdvice = "Restore the directory from a backup, or move it away and start with an empty one. Nothing was changed.";

    readonly IJournalFiles files;
    readonly string directory;
    byte[] buffer = [];

    public Manifest Manifest { get; }

    /// <summary>The last segment; 0 when there is none yet.</summary>
    public long Last { get; }

    public List<long> SnapshotPoints { get; }

    /// <summary>Files of an interrupted drop, snapshot or allocation: to be deleted once everything else was found good.</summary>
    public List<string> Leftovers { get; }

    public IReadOnlyDictionary<long, SegmentHeader> Headers => headers;

    readonly Dictionary<long, SegmentHeader> headers = [];

    Inventory(IJournalFiles files, string directory, IReadOnlyList<string> names, Manifest manifest)
    {
        (this.files, this.directory, Manifest) = (files, directory, manifest);
        var ids = Format.Ids(names, ".segment");
        var kept = ids.Where(id => id >= manifest.First).ToList();
        Last = kept.Count == 0 ? manifest.First - 1 : kept[^1];
        SnapshotPoints = [.. Format.Ids(names, ".snapshot").Where(point => point >= manifest.First)];
        Leftovers = [.. names.Where(name => name.EndsWith(".tmp", StringComparison.Ordinal)),
            .. ids.Where(id => id < manifest.First).Select(Format.SegmentName),
            .. Format.Ids(names, ".snapshot").Where(point => point < manifest.First).Select(Format.SnapshotName)];
        for (var id = manifest.First; id <= Math.Max(Last, manifest.Last); id++)
            if (!kept.Contains(id))
                throw new JournalCorruptException(Path.Combine(directory, Format.SegmentName(id)), 0, "a segment is missing", RestoreAdvice);
        // A segment appears before the manifest counts it, and nothing is written to it until the manifest does.
        if (Last > manifest.Last + 1)
            throw new JournalCorruptException(Path.Combine(directory, Manifest.Name), 0,
                $"the manifest knows segments up to {manifest.Last}, but there is segment {Last}", RestoreAdvice);
    }

    /// <summary>Null when the directory holds no journal yet.</summary>
    public static Inventory? Read(IJournalFiles files, string directory, Action<string>? warn)
    {
        var names = files.List(directory);
        var path = Path.Combine(directory, Manifest.Name);
        if (!names.Contains(Manifest.Name))
        {
            return names.Any(name => name.EndsWith(".segment", StringComparison.Ordinal) || name.EndsWith(".snapshot", StringComparison.Ordinal))
                ? throw new JournalCorruptException(path, 0, "the manifest is missing", RestoreAdvice)
                : null;
        }

        using var file = files.Open(path, write: false);
        return new Inventory(files, directory, names, Manifest.Read(path, file, warn));
    }

    public string SegmentPath(long id) => Path.Combine(directory, Format.SegmentName(id));

    public void ReadHeaders()
    {
        for (var id = Manifest.First; id <= Last; id++) ReadHeader(id);
    }

    public void ReadHeader(long id)
    {
        using var file = files.Open(SegmentPath(id), write: false);
        Span<byte> bytes = stackalloc byte[Format.SegmentHeaderBytes];
        var read = file.Read(0, bytes);
        if (Format.ReadSegmentHeader(SegmentPath(id), bytes[..read]) is not { } header)
            throw new JournalCorruptException(SegmentPath(id), 0, "the segment's header is damaged", RestoreAdvice);
        if (header.Journal != Manifest.Journal || header.Id != id)
            throw new JournalCorruptException(SegmentPath(id), 0, "the segment belongs to another place or journal", RestoreAdvice);
        headers[id] = header;
    }

    /// <summary>Scans a segment and holds it against its successor's header, which proves all of it durable.</summary>
    public SegmentScan Scan(long id, Action<JournalRecord>? replay, out ReadOnlyMemory<byte> bytes)
    {
        var header = headers[id];
        using var file = files.Open(SegmentPath(id), write: false);
        var length = file.Length;
        var final = id == Last;
        if (!headers.TryGetValue(id + 1, out var next) && !final)
            throw new JournalCorruptException(SegmentPath(id), 0, "the segment cannot be checked, because the next one's header is damaged", RestoreAdvice);
        if (final && length < header.Capacity || !final && length < next.PreviousEnd)
            throw new JournalCorruptException(SegmentPath(id), length, "the segment is cut short", RestoreAdvice);
        if (!final) length = next.PreviousEnd;
        if (buffer.Length < length) buffer = new byte[length];
        bytes = buffer.AsMemory(0, file.Read(0, buffer.AsSpan(0, (int)length)));
        var scan = SegmentScan.Run(bytes, header, replay);
        if (scan.Damage is not null)
            throw new JournalCorruptException(SegmentPath(id), scan.DamageOffset, scan.Damage, RestoreAdvice);
        if (!final && (scan.End != next.PreviousEnd || scan.Chain != next.PreviousChain || scan.NextSequence != next.FirstSequence))
            throw new JournalCorruptException(SegmentPath(id), scan.DamageOffset, "a record is damaged in a segment that was complete", RestoreAdvice);
        return scan;
    }

    public void CheckSnapshot(long point)
    {
        if (!headers.TryGetValue(point, out var header))
            throw new JournalCorruptException(Path.Combine(directory, Format.SnapshotName(point)), 0, $"the snapshot ends before segment {point}, which is not there", RestoreAdvice);
        ReadSnapshot(point, header, null);
    }

    public void ReplaySnapshot(long point, Action<JournalRecord> replay) =>
        ReadSnapshot(point, headers[point], bytes => replay(new JournalRecord(default, 0, bytes)));

    void ReadSnapshot(long point, in SegmentHeader header, Action<ReadOnlyMemory<byte>>? each)
    {
        var path = Path.Combine(directory, Format.SnapshotName(point));
        using var file = files.Open(path, write: false);
        SnapshotFile.Read(path, file, header, each);
    }
}

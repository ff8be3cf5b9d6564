using System.Runtime.InteropServices;
using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>
/// Once a minute: forget what ended too long ago, make room in the oldest segments, and write a snapshot of the index when opening would otherwise
/// have much to read. Commits go on meanwhile; each step leaves a journal that opens as if the next one had not begun.
/// </summary>
public sealed partial class JournalStore
{
    // Carrying costs writing: only what is mostly dead is worth it, and never so much that commits feel it for long.
    const int DeadPartOf = 4, MostCarried = 256 << 20, CarriedAtOnce = 1 << 20;

    const int Slice = 1000;

    readonly Dictionary<int, SegmentUse> _uses = [];
    long _sinceSnapshot, _snapshotBytes;

    /// <summary>Does now what is otherwise done once a minute.</summary>
    internal Task KeepHouseAsync() => _retention.LookAsync();

    async Task HousekeepAsync()
    {
        if (_failure is not null || _closed) return;
        Expire();
        await CompactAsync().ConfigureAwait(false);
        if (Interlocked.Read(ref _sinceSnapshot) > Math.Max(2L * _options.SegmentBytes, 4 * _snapshotBytes)) await SnapshotAsync().ConfigureAwait(false);
    }

    void Expire()
    {
        lock (_index.Gate)
        {
            _operations.Forget(_retention.Cutoff);
            _audit.Forget(_retention.Cutoff);
        }

        for (var more = true; more;)
            lock (_index.Gate)
                more = _index.Expire_NeedsLock(_retention.Cutoff, Slice, Forget_NeedsLock);
    }

    /// <summary>Drops the oldest segments, if what lives in them is little beside what is dead; that is written once more before.</summary>
    async Task CompactAsync()
    {
        var segments = Journal.Segments;
        // What is written to them but not applied yet is not counted yet.
        await EndOfRoundsAsync().ConfigureAwait(false);
        var before = Plan(segments);
        if (before == segments[0].Id) return;
        await CarryAsync((int)before).ConfigureAwait(false);
        lock (_index.Gate)
            foreach (var (segment, use) in _uses)
                if (use.Sagas > 0) before = Math.Min(before, segment);
        // The journal keeps what its two newest snapshots need.
        for (var snapshots = 0; await Journal.DropSegmentsBeforeAsync(before).ConfigureAwait(false) < before && snapshots < 2; snapshots++)
            await SnapshotAsync().ConfigureAwait(false);
    }

    /// <summary>Up to which segment it is worth it.</summary>
    long Plan(IReadOnlyList<JournalSegment> segments)
    {
        var before = segments[0].Id;
        long bytes = 0, live = 0;
        lock (_index.Gate)
            foreach (var segment in segments)
            {
                if (segment.Active) break;
                bytes += segment.Bytes;
                live += _uses.GetValueOrDefault((int)segment.Id).Bytes;
                if (live > MostCarried) break;
                if (live <= bytes / DeadPartOf && bytes - live >= _options.SegmentBytes / 2) before = segment.Id + 1;
            }

        return before;
    }

    async Task CarryAsync(int before)
    {
        List<OpenSaga> open;
        lock (_index.Gate) open = [.. _open.Values.Where(saga => saga.Exists && saga.Entry.FirstSegment < before)];
        for (var at = 0; at < open.Count;)
        {
            var part = new List<OpenSaga>();
            for (var bytes = 0L; at < open.Count && (part.Count == 0 || bytes + open[at].Entry.LiveBytes <= CarriedAtOnce); at++)
            {
                bytes += open[at].Entry.LiveBytes;
                part.Add(open[at]);
            }

            while (part.Count > 0) part = await CarryOpenAsync(part).ConfigureAwait(false);
        }

        for (var status = SagaStatus.Completed; status <= SagaStatus.Terminated; status++)
        {
            var part = new List<SagaEntry>();
            var bytes = 0L;
            foreach (var entry in Walk(status))
            {
                if (entry.FirstSegment >= before) continue;
                part.Add(entry);
                bytes += entry.LiveBytes;
                if (bytes < CarriedAtOnce) continue;
                await CarryFinishedAsync(part).ConfigureAwait(false);
                (part, bytes) = ([], 0);
            }

            await CarryFinishedAsync(part).ConfigureAwait(false);
        }
    }

    /// <summary>Writes them once more, as nobody else writes them meanwhile. Gives back those that somebody is writing.</summary>
    async Task<List<OpenSaga>> CarryOpenAsync(List<OpenSaga> sagas)
    {
        var round = new Round(_time);
        List<OpenSaga> claimed = [], busy = [];
        Round? other = null;
        lock (_index.Gate)
        {
            foreach (var saga in sagas)
            {
                if (!saga.Exists) continue;
                if (saga.InFlight is not null) other = saga.InFlight;
                (saga.InFlight is null ? claimed : busy).Add(saga);
                saga.InFlight ??= round;
            }

            if (claimed.Count > 0) _rounds.Add(round);
        }

        if (claimed.Count > 0)
        {
            try
            {
                var carried = await RewriteAsync([.. claimed.Select(static saga => (saga.Entry, saga.Places.ToArray()))]).ConfigureAwait(false);
                lock (_index.Gate)
                    for (var i = 0; i < carried.Count; i++)
                    {
                        claimed[i].Places.Clear();
                        claimed[i].Places.AddRange(carried[i]);
                        Move_NeedsLock(claimed[i].Entry, carried[i]);
                    }
            }
            finally
            {
                lock (_index.Gate)
                {
                    // After a failure the claims stay: what was written is unknown.
                    if (_failure is null)
                        foreach (var saga in claimed) saga.InFlight = null;
                    _rounds.Remove(round);
                }

                round.End();
            }
        }

        if (other is not null) await other.Ended.ConfigureAwait(false);
        return _failure is null ? busy : [];
    }

    async Task CarryFinishedAsync(List<SagaEntry> sagas)
    {
        if (sagas.Count == 0) return;
        var round = new Round(_time);
        lock (_index.Gate) _rounds.Add(round);
        try
        {
            List<(SagaEntry, RecordPlace[])> from = [.. sagas.Select(saga => (saga, PlacesOf(saga)))];
            var carried = await RewriteAsync(from).ConfigureAwait(false);
            lock (_index.Gate)
                for (var i = 0; i < carried.Count; i++) Move_NeedsLock(sagas[i], carried[i]);
        }
        finally
        {
            lock (_index.Gate) _rounds.Remove(round);
            round.End();
        }
    }

    RecordPlace[] PlacesOf(SagaEntry finished)
    {
        var record = Read(finished.Position);
        return [.. record.Places(), new RecordPlace(finished.Position, record.Head.LastSeq)];
    }

    /// <summary>Appends each saga's whole history and newest state as one record, or, where that is too long, as records of history and one that lists them.</summary>
    async Task<List<RecordPlace[]>> RewriteAsync(List<(SagaEntry Saga, RecordPlace[] From)> sagas)
    {
        using var buffer = new RecordBuffer();
        var places = new List<RecordPlace[]>(sagas.Count);
        foreach (var (saga, from) in sagas) places.Add(await RewriteAsync(saga, from, buffer).ConfigureAwait(false));
        var positions = await AppendOrFailAsync(buffer).ConfigureAwait(false);
        for (var i = 0; i < positions.Length; i++) places[i] = [.. places[i], new RecordPlace(positions[i], buffer.Record(i).Head.LastSeq)];
        return places;
    }

    async Task<RecordPlace[]> RewriteAsync(SagaEntry saga, RecordPlace[] from, RecordBuffer buffer)
    {
        List<RecordPlace> chunks = [];
        var history = new MemoryStream();
        var chunked = 0;
        for (var i = 0; i < from.Length; i++)
        {
            var bytes = Journal.Read(from[i].Position);
            var isLast = i == from.Length - 1;
            var length = SagaRecord.Read(bytes).History.Length;
            var room = isLast ? MostRecordBytes - (bytes.Length - length) : Math.Min(CarriedAtOnce, MostRecordBytes / 2);
            if (history.Length > 0 && history.Length + length > room)
            {
                using var chunk = new RecordBuffer();
                chunk.Write(new RecordHead { Kind = RecordKind.History, LastSeq = from[i - 1].LastSeq }, saga.Name, saga.Definition.Name, [], [], Written(history));
                chunks.Add(new RecordPlace((await AppendOrFailAsync(chunk).ConfigureAwait(false))[0], from[i - 1].LastSeq));
                chunked += (int)history.Length;
                history.SetLength(0);
            }

            history.Write(SagaRecord.Read(bytes).History);
            if (!isLast) continue;
            var last = SagaRecord.Read(bytes);
            var head = last.Head with { Lists = true, HistoryBytes = chunked };
            buffer.Write(head, saga.Name, saga.Definition.Name, CollectionsMarshal.AsSpan(chunks), last.StateJson, Written(history));
        }

        return [.. chunks];
    }

    static ReadOnlySpan<byte> Written(MemoryStream stream) => stream.GetBuffer().AsSpan(0, (int)stream.Length);

    async Task<JournalPosition[]> AppendOrFailAsync(RecordBuffer buffer)
    {
        try
        {
            return await AppendAsync(buffer).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            throw Fail(error);
        }
    }

    async Task SnapshotAsync()
    {
        var before = Interlocked.Read(ref _sinceSnapshot);
        var bytes = 0L;
        // All that was appended before the snapshot's point must be in it, also what the journal has written but we have not applied yet.
        await Journal.SnapshotAsync(writer => bytes = WriteSnapshot(writer), EndOfRoundsAsync).ConfigureAwait(false);
        Interlocked.Add(ref _sinceSnapshot, -before);
        _snapshotBytes = bytes;
    }

    /// <summary>
    /// Definitions, operations and what operators did; then the open sagas, then the finished: one that ends in between is in the second part or was appended after the snapshot's point,
    /// and is replayed.
    /// </summary>
    long WriteSnapshot(SnapshotWriter writer)
    {
        if (_failure is not null) throw Unavailable(_failure);
        var written = 0L;
        OpenSaga[] open;
        StoredDefinition[] definitions;
        Operation[] operations;
        AuditEntry[] audit;
        lock (_index.Gate) (open, definitions, operations, audit) = ([.. _open.Values], [.. _definitions.Values], [.. _operations.All], [.. _audit.All]);
        foreach (var definition in definitions)
        {
            using var buffer = new RecordBuffer();
            WriteDefinition(buffer, definition);
            Flush(buffer);
        }

        foreach (var operation in operations)
        {
            using var buffer = new RecordBuffer();
            WriteOperation(buffer, operation);
            Flush(buffer);
        }

        foreach (var part in audit.Chunk(Slice))
        {
            using var buffer = new RecordBuffer();
            foreach (var entry in part) WriteAudit(buffer, entry);
            Flush(buffer);
        }

        foreach (var part in open.Chunk(Slice))
        {
            using var buffer = new RecordBuffer();
            lock (_index.Gate)
                foreach (var saga in part)
                    if (saga.Exists) Describe(buffer, RecordKind.Open, saga.Entry, CollectionsMarshal.AsSpan(saga.Places), saga.Entry.State!.Version, saga.HistoryBytes);
            Flush(buffer);
        }

        for (var status = SagaStatus.Completed; status <= SagaStatus.Terminated; status++)
            foreach (var part in Slices(status))
            {
                using var buffer = new RecordBuffer();
                lock (_index.Gate)
                    foreach (var entry in part)
                        Describe(buffer, RecordKind.Finished, entry, [new RecordPlace(entry.Position, 0)], 0, 0);
                Flush(buffer);
            }

        return written;

        static void Describe(RecordBuffer buffer, RecordKind kind, SagaEntry entry, ReadOnlySpan<RecordPlace> places, long version, int historyBytes) =>
            buffer.Write(new RecordHead
            {
                Kind = kind,
                Status = entry.Status,
                LastSeq = places[^1].LastSeq,
                Version = version,
                StartedAt = entry.StartedAt,
                FinishedAt = entry.FinishedAt,
                HistoryBytes = historyBytes,
                LiveBytes = entry.LiveBytes,
                FirstSegment = entry.FirstSegment,
            }, entry.Name, entry.Definition.Name, places, [], []);

        void Flush(RecordBuffer buffer)
        {
            for (var i = 0; i < buffer.Count; i++) writer.Write(buffer.BytesOf(i));
            written += buffer.Bytes;
        }
    }

    Task EndOfRoundsAsync()
    {
        lock (_index.Gate) return Task.WhenAll(_rounds.Select(static round => round.Ended).ToArray());
    }

    /// <summary>The sagas of a final status, oldest first, without holding the lock for long.</summary>
    IEnumerable<SagaEntry> Walk(SagaStatus status) => Slices(status).SelectMany(static slice => slice);

    IEnumerable<List<SagaEntry>> Slices(SagaStatus status)
    {
        SagaEntry? last = null;
        while (true)
        {
            var slice = new List<SagaEntry>(Slice);
            lock (_index.Gate)
            {
                var order = _index.ByStatus_NeedsLock(status);
                var place = last is null ? order.Start : order.LowerBound(SagaIndex.TimeKey(last.StartedAt), last);
                while (slice.Count < Slice && order.On(ref place, out _, out var entry))
                    if (!ReferenceEquals(entry, last)) slice.Add(entry);
            }

            if (slice.Count == 0) yield break;
            last = slice[^1];
            yield return slice;
        }
    }

    void SetLiveBytes_NeedsLock(SagaEntry entry, int bytes, bool isNew)
    {
        ref var use = ref CollectionsMarshal.GetValueRefOrAddDefault(_uses, entry.FirstSegment, out _);
        if (isNew) use.Sagas++;
        else use.Bytes -= entry.LiveBytes;
        use.Bytes += bytes;
        entry.LiveBytes = bytes;
    }

    void Forget_NeedsLock(SagaEntry entry)
    {
        ref var use = ref CollectionsMarshal.GetValueRefOrAddDefault(_uses, entry.FirstSegment, out _);
        use.Bytes -= entry.LiveBytes;
        use.Sagas--;
        if (use.Sagas == 0) _uses.Remove(entry.FirstSegment);
    }

    void Move_NeedsLock(SagaEntry entry, RecordPlace[] to)
    {
        Forget_NeedsLock(entry);
        entry.Place(to[^1]);
        entry.FirstSegment = to.Min(static place => place.Segment);
        SetLiveBytes_NeedsLock(entry, entry.LiveBytes, isNew: true);
    }

    /// <summary>What lives in a segment, counted for those sagas whose oldest segment it is.</summary>
    struct SegmentUse
    {
        public long Bytes;
        public int Sagas;
    }
}

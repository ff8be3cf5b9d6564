using System.Diagnostics.CodeAnalysis;
using System.Text;
using Microsoft.Extensions.Logging;
using Sagas.Journal;

namespace Sagas.Runtime;

public sealed partial class JournalStore
{
    /// <inheritdoc/>
    /// <remarks>Reads the newest snapshot of the index and what was appended since; of unfinished sagas then their newest record.</remarks>
    public ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel)
    {
        if (_journal is not null) throw new InvalidOperationException("The store is open.");
        return new(_time.Run(ReplayAsync, cancel));
    }

    async Task<IReadOnlyList<SagaState>> ReplayAsync()
    {
        var replay = new Replay();
        var journal = SegmentedJournal.Open(_options.Path, new JournalOptions
        {
            SegmentBytes = _options.SegmentBytes,
            ReserveBytes = _options.ReserveBytes,
            Preallocate = _options.Preallocate,
            Time = _time,
            OnTornTail = cut => _log.LogWarning("An unfinished last write of {Bytes} bytes was cut off {File} at offset {Offset}; nothing of it had been acknowledged.",
                cut.Bytes, cut.File, cut.Offset),
            OnWarning = warning => _log.LogWarning("The journal in {Directory}: {Warning}", _options.Path, warning),
        }, replay.Take, _files);
        try
        {
            var (sagas, open) = replay.End(journal.FirstSegment, _retention.Cutoff);
            var states = new List<SagaState>(open.Count);
            foreach (var saga in open)
            {
                saga.Entry.State = SagaRecord.Read(journal.Read(saga.Places[^1].Position)).State();
                states.Add(saga.Entry.State);
            }

            lock (_index.Gate)
            {
                foreach (var saga in open) _open.Add(saga.Entry.State!.Id.Value, saga);
                _index.Load_NeedsLock(sagas);
                foreach (var definition in replay.Kept) _definitions.Add((definition.Name, definition.Version), definition);
                replay.Operations.Forget(_retention.Cutoff);
                foreach (var operation in replay.Operations.All) _operations.Keep(operation);
                replay.Audit.Forget(_retention.Cutoff);
                foreach (var entry in replay.Audit.All) _audit.Keep(entry);
                foreach (var entry in sagas) SetLiveBytes_NeedsLock(entry, entry.LiveBytes, isNew: true);
                (_sinceSnapshot, _snapshotBytes) = (replay.AppendedBytes, replay.SnapshotBytes);
                _journal = journal;
            }

            _retention.Start();
            return states;
        }
        catch
        {
            await journal.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Builds the index from a snapshot's records and those since, some of which the snapshot may know already. A record that lists all before it
    /// begins its saga anew, and whatever came after it follows; of the others, an older version than the known one changes nothing.
    /// </summary>
    sealed class Replay
    {
        readonly HashSet<SagaEntry> _sagas = new(new ById());
        readonly Dictionary<SagaEntry, OpenSaga> _open = new(ReferenceEqualityComparer.Instance);
        readonly Dictionary<string, IndexedDefinition> _definitions = new(StringComparer.Ordinal);
        readonly Dictionary<(string Name, int Version), StoredDefinition> _kept = [];
        readonly HashSet<string> _headless = [];

        public KeptOperations Operations { get; } = new();

        public KeptAudit Audit { get; } = new();

        /// <summary>The definitions that are kept.</summary>
        public IEnumerable<StoredDefinition> Kept => _kept.Values;

        public long AppendedBytes { get; private set; }

        public long SnapshotBytes { get; private set; }

        public void Take(JournalRecord from)
        {
            var record = SagaRecord.Read(from.Payload.Span);
            if (from.FromSnapshot) SnapshotBytes += from.Payload.Length;
            else AppendedBytes += from.Payload.Length;
            switch (record.Head.Kind)
            {
                case RecordKind.Open or RecordKind.Finished:
                    TakeKnown(record);
                    break;
                case RecordKind.Commit:
                    TakeCommit(record, new RecordPlace(from.Position, record.Head.LastSeq));
                    break;
                case RecordKind.History:
                    break;
                case RecordKind.Definition:
                    var kept = ReadDefinition(record);
                    _kept[(kept.Name, kept.Version)] = kept;
                    break;
                case RecordKind.Operation:
                    // What came after a snapshot's point may be in it already: then it comes again, in order.
                    Operations.Keep(ReadOperation(record));
                    break;
                case RecordKind.Audit:
                    Audit.Keep(ReadAudit(record));
                    break;
                default:
                    throw new InvalidDataException($"A record is of kind {record.Head.Kind}, which this program does not know. Run the version that wrote it.");
            }
        }

        /// <summary>All sagas to go on with, and those of them that are unfinished.</summary>
        public (SagaEntry[] Sagas, IReadOnlyCollection<OpenSaga> Open) End(long firstSegment, long endedBy)
        {
            if (_headless.Count > 0) throw new InvalidDataException($"The journal has no beginning for saga '{_headless.First()}'. Restore the directory from a backup.");
            foreach (var (entry, _) in _open)
                if (entry.FirstSegment < firstSegment)
                    throw new InvalidDataException($"The journal has dropped segment {entry.FirstSegment}, which unfinished saga '{Encoding.UTF8.GetString(entry.Id)}' needs. "
                        + "Restore the directory from a backup.");
            // What was forgotten may have a record in a segment that remains.
            return ([.. _sagas.Where(entry => !SagaIndex.IsEnd(entry.Status) || (entry.FirstSegment >= firstSegment && entry.FinishedAt > endedBy))], _open.Values);
        }

        void TakeKnown(in SagaRecord record)
        {
            var places = record.Places();
            var entry = Renew(record);
            entry.Place(places[^1]);
            (entry.FirstSegment, entry.LiveBytes) = (record.Head.FirstSegment, record.Head.LiveBytes);
            if (record.Head.Kind == RecordKind.Finished) return;
            var saga = new OpenSaga(entry) { Version = record.Head.Version, HistoryBytes = record.Head.HistoryBytes };
            saga.Places.AddRange(places);
            _open.Add(entry, saga);
        }

        void TakeCommit(in SagaRecord record, in RecordPlace place)
        {
            _sagas.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(record.Id, out var known);
            var open = known is null ? null : _open.GetValueOrDefault(known);
            if (record.Head.Lists)
            {
                var places = record.Places();
                var entry = Renew(record);
                entry.FirstSegment = places.Length > 0 ? Math.Min(place.Segment, places.Min(static earlier => earlier.Segment)) : place.Segment;
                open = new OpenSaga(entry) { HistoryBytes = record.Head.HistoryBytes };
                open.Places.AddRange(places);
                if (!SagaIndex.IsEnd(record.Head.Status)) _open.Add(entry, open);
                if (_headless.Count > 0) _headless.Remove(Encoding.UTF8.GetString(record.Id));
                Append(open, record, place);
            }
            else if (open is not null)
            {
                if (record.Head.Version <= open.Version) return;
                Append(open, record, place);
            }
            else if (known is null)
            {
                // Its end may have been forgotten before the snapshot came to it: then the record of its end, with all the places, comes as well.
                _headless.Add(Encoding.UTF8.GetString(record.Id));
            }
        }

        static void Append(OpenSaga saga, in SagaRecord record, in RecordPlace place)
        {
            saga.Places.Add(place);
            saga.HistoryBytes += record.History.Length;
            saga.Version = record.Head.Version;
            var entry = saga.Entry;
            entry.Place(place);
            (entry.Status, entry.FinishedAt, entry.LiveBytes) = (record.Head.Status, record.Head.FinishedAt, record.Bare + saga.HistoryBytes);
        }

        /// <summary>The saga's entry, made anew from the record.</summary>
        SagaEntry Renew(in SagaRecord record)
        {
            var lookup = _sagas.GetAlternateLookup<ReadOnlySpan<byte>>();
            if (lookup.TryGetValue(record.Id, out var entry))
            {
                _open.Remove(entry);
                if (entry.StartedAt != record.Head.StartedAt || !entry.Name.SequenceEqual(record.Name))
                {
                    lookup.Remove(record.Id);
                    entry = null;
                }
            }

            if (entry is null) _sagas.Add(entry = new SagaEntry(record.Name.ToArray(), record.Head.StartedAt, Definition(record.Definition)));
            (entry.Status, entry.FinishedAt) = (record.Head.Status, record.Head.FinishedAt);
            return entry;
        }

        IndexedDefinition Definition(ReadOnlySpan<byte> utf8)
        {
            Span<char> name = stackalloc char[256];
            if (utf8.Length > name.Length) name = new char[utf8.Length];
            name = name[..Encoding.UTF8.GetChars(utf8, name)];
            var lookup = _definitions.GetAlternateLookup<ReadOnlySpan<char>>();
            if (!lookup.TryGetValue(name, out var definition)) lookup[name] = definition = new IndexedDefinition(name.ToString());
            return definition;
        }

        sealed class ById : IEqualityComparer<SagaEntry>, IAlternateEqualityComparer<ReadOnlySpan<byte>, SagaEntry>
        {
            public bool Equals(SagaEntry? a, SagaEntry? b) => a!.Id.SequenceEqual(b!.Id);

            public int GetHashCode([DisallowNull] SagaEntry saga) => GetHashCode(saga.Id);

            public bool Equals(ReadOnlySpan<byte> id, SagaEntry saga) => saga.Id.SequenceEqual(id);

            public int GetHashCode(ReadOnlySpan<byte> id) => (int)SagaEntry.ValueKey(id);

            public SagaEntry Create(ReadOnlySpan<byte> id) => throw new NotSupportedException();
        }
    }
}

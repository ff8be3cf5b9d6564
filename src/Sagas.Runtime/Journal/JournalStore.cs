using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>
/// The embedded store: every commit is a record in an append-only journal. Unfinished sagas are whole in memory; of a finished one the index
/// keeps some 200 bytes, and its state and history are read back from the file.
/// </summary>
/// <remarks>
/// A commit claims its saga (compare-and-set, under the lock), is written and synced together with everybody else's, and is then applied to
/// the index, where readers see it. Opening is in Replay.cs, forgetting and making room in Housekeeping.cs.
/// </remarks>
public sealed partial class JournalStore : ISagaStore
{
    readonly JournalStoreOptions _options;
    readonly IJournalFiles? _files;
    readonly ILogger _log;
    readonly TimeProvider _time;
    readonly Retention _retention;
    readonly SagaIndex _index = new();
    readonly Dictionary<string, OpenSaga> _open = new(StringComparer.Ordinal);
    readonly HashSet<Round> _rounds = [];
    SegmentedJournal? _journal;
    Exception? _failure;
    bool _closed;

    /// <summary>A store in <see cref="JournalStoreOptions.Path"/>. Nothing is touched before it is opened.</summary>
    public JournalStore(IOptions<JournalStoreOptions> options, IOptions<SagasOptions> engine, TimeProvider time, ILogger<JournalStore>? log = null)
        : this(options?.Value!, engine?.Value.Retention ?? default, time, null, log)
    {
    }

    internal JournalStore(JournalStoreOptions options, TimeSpan retention, TimeProvider time, IJournalFiles? files = null, ILogger? log = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        (_options, _time, _files, _log) = (options, time, files, log ?? NullLogger.Instance);
        _keeping = new Gate(time);
        _retention = new Retention(retention, time, HousekeepAsync,
            error => _log.LogError(error, "Making room in the journal in {Directory} failed; it is tried again in a minute.", _options.Path));
    }

    /// <inheritdoc/>
    public StoreHealth Health
    {
        get
        {
            if (_closed || _journal is not { } journal) return new StoreHealth(StoreLevel.Down, $"The journal in '{_options.Path}' is not open.");
            var health = journal.Health;
            if ((_failure ?? health.Failure) is { } failure) return new StoreHealth(StoreLevel.Down, Unavailable(failure).Message);
            return health.LowSpace
                ? new StoreHealth(StoreLevel.Low, $"The disk of the journal in '{_options.Path}' is nearly full. Free some space: new sagas are refused so that open ones can end.")
                : StoreHealth.Good;
        }
    }

    /// <summary>How much of the disk its files take; 0 before it is opened.</summary>
    public long BytesOnDisk => _journal?.Health.BytesOnDisk ?? 0;

    SegmentedJournal Journal => _journal ?? throw new InvalidOperationException("The store is not open: call OpenAsync first.");

    /// <inheritdoc/>
    public async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(commits);
        cancel.ThrowIfCancellationRequested();
        var outcomes = new CommitOutcome[commits.Count];
        List<int>? left = null;
        while (true)
        {
            var round = new Round(_time);
            (left, var other) = Claim(round, commits, left, outcomes);
            if (round.Claims.Count > 0) await WriteAsync(round).ConfigureAwait(false);
            if (other is null) return ImmutableCollectionsMarshal.AsImmutableArray(outcomes);
            // Another commit on the same saga is being written: whether ours is too late shows when that one has ended. The others of this call
            // have gone ahead, so that two calls never wait for each other.
            await other.Ended.ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel)
    {
        var probe = SagaEntry.Probe(id.Value);
        return new(Retrying(() =>
        {
            SagaEntry? entry;
            JournalPosition position;
            lock (_index.Gate)
            {
                entry = _index.Find_NeedsLock(probe);
                if (entry is null) return null;
                if (entry.State is { } open) return open;
                position = entry.Position;
            }

            return Read(position).State();
        }));
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel)
    {
        var probe = SagaEntry.Probe(id.Value);
        return new(Retrying<IReadOnlyList<HistoryEntry>?>(() =>
        {
            RecordPlace[]? places = null;
            JournalPosition position = default;
            lock (_index.Gate)
            {
                if (_open.TryGetValue(id.Value, out var open)) places = open.Exists ? [.. open.Places] : null;
                else if (_index.Find_NeedsLock(probe) is { } entry) position = entry.Position;
                if (places is null && position == default) return null;
            }

            var history = new List<HistoryEntry>();
            if (places is not null)
            {
                ReadHistory(places, history, after, limit);
                return history;
            }

            var last = Read(position);
            ReadHistory(last.Places(), history, after, limit);
            last.ReadHistory(history, after, limit);
            return history;
        }));
    }

    /// <inheritdoc/>
    public ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(filter);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var hits = new SagaQuery(_index, filter, cursor).Newest(limit + 1);
        var items = new List<SagaState>(Math.Min(limit, hits.Count));
        foreach (var (entry, state) in hits.Take(limit))
        {
            cancel.ThrowIfCancellationRequested();
            if ((state ?? Retrying(() => ReadBack(entry))) is { } saga) items.Add(saga);
        }

        return new(new SagaPage(items, hits.Count > limit ? SagaCursor.Write(hits[limit - 1].Saga) : null));
    }

    /// <inheritdoc/>
    public ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return new(SagaQuery.ByStatus(new SagaQuery(_index, filter, null).Count()));
    }

    /// <inheritdoc/>
    public ValueTask<DateTimeOffset?> OldestUnfinishedAsync(CancellationToken cancel)
    {
        lock (_index.Gate) return new(_open.Values.Where(static saga => saga.Exists).Min(static saga => (DateTimeOffset?)saga.Entry.State!.StartedAt));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _retention.DisposeAsync().ConfigureAwait(false);
        _closed = true;
        if (_journal is { } journal) await journal.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>
    /// Claims for the round each saga whose version fits and which nobody is writing. Gives what is left to be decided, and whom to wait for.
    /// </summary>
    (List<int>? Left, Round? Other) Claim(Round round, IReadOnlyList<SagaCommit> commits, List<int>? which, CommitOutcome[] outcomes)
    {
        var count = which?.Count ?? commits.Count;
        // Made before the lock is taken: most starts are new.
        var fresh = new SagaEntry?[count];
        for (var i = 0; i < count; i++)
            if (commits[which?[i] ?? i].State is { Version: 1 } state) fresh[i] = new SagaEntry(state, null!);
        List<int>? left = null;
        Round? other = null;
        lock (_index.Gate)
        {
            if (_failure is not null) throw Unavailable(_failure);
            if (_closed) throw new StoreUnavailableException($"The journal in '{_options.Path}' is closed.");
            for (var i = 0; i < count; i++)
            {
                var index = which?[i] ?? i;
                var commit = commits[index];
                ref var saga = ref CollectionsMarshal.GetValueRefOrNullRef(_open, commit.State.Id.Value);
                if (Unsafe.IsNullRef(ref saga))
                {
                    if (fresh[i] is not { } entry || _index.Find_NeedsLock(entry) is not null)
                    {
                        outcomes[index] = CommitOutcome.Conflict;
                        continue;
                    }

                    entry.Definition = _index.Define_NeedsLock(commit.State.Definition);
                    var started = new OpenSaga(entry) { InFlight = round };
                    _open.Add(commit.State.Id.Value, started);
                    round.Claims.Add((started, commit, index));
                }
                else if (saga.InFlight is not null)
                {
                    other = saga.InFlight;
                    (left ??= []).Add(index);
                }
                else if (saga.Entry.State!.Version == commit.State.Version - 1)
                {
                    saga.InFlight = round;
                    round.Claims.Add((saga, commit, index));
                }
                else outcomes[index] = CommitOutcome.Conflict;
            }

            if (round.Claims.Count > 0) _rounds.Add(round);
        }

        return (left, other);
    }

    async ValueTask WriteAsync(Round round)
    {
        using var buffer = new RecordBuffer();
        try
        {
            foreach (var (saga, commit, _) in round.Claims)
            {
                buffer.WriteCommit(saga.Entry, commit, CollectionsMarshal.AsSpan(saga.Places), saga.HistoryBytes);
                var bytes = buffer.BytesOf(buffer.Count - 1).Length;
                if (bytes > MostCommitBytes)
                    throw new ArgumentException($"Saga '{commit.State.Id}' takes {bytes} bytes, more than the {MostCommitBytes} that a record may have. "
                        + "Make its payloads smaller, or raise Sagas:Journal:SegmentBytes.");
            }
        }
        catch
        {
            Release(round);
            throw;
        }

        JournalPosition[] positions;
        try
        {
            positions = await AppendAsync(buffer).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            // What was written is unknown: the claims stay, nothing is shown, and nothing more is accepted.
            lock (_index.Gate) _rounds.Remove(round);
            var failure = Fail(error);
            round.End();
            throw failure;
        }

        lock (_index.Gate)
        {
            for (var i = 0; i < positions.Length; i++) Apply_NeedsLock(round.Claims[i].Saga, round.Claims[i].Commit, buffer.Record(i), positions[i]);
            _rounds.Remove(round);
        }

        round.End();
    }

    // A call to the journal is all or nothing, and must fit into one segment beside others'; also into the reserve when the disk is full.
    int MostCallBytes => Math.Max(_options.SegmentBytes / 4, 4096);

    int MostRecordBytes => _options.SegmentBytes - 512;

    // Less than a record may have: moving a saga adds a list of places to its newest one.
    int MostCommitBytes => MostRecordBytes - _options.SegmentBytes / 16;

    async ValueTask<JournalPosition[]> AppendAsync(RecordBuffer buffer)
    {
        Interlocked.Add(ref _sinceSnapshot, buffer.Bytes);
        var first = buffer.Take(0, MostCallBytes);
        var appended = Journal.AppendAsync(first);
        if (first.Count == buffer.Count) return await appended.ConfigureAwait(false);
        List<Task<JournalPosition[]>> calls = [appended.AsTask()];
        for (var at = first.Count; at < buffer.Count;)
        {
            var next = buffer.Take(at, MostCallBytes);
            calls.Add(Journal.AppendAsync(next).AsTask());
            at += next.Count;
        }

        return [.. (await Task.WhenAll(calls).ConfigureAwait(false)).SelectMany(static positions => positions)];
    }

    void Apply_NeedsLock(OpenSaga saga, SagaCommit commit, in SagaRecord record, JournalPosition position)
    {
        var (entry, state) = (saga.Entry, commit.State);
        var isNew = !saga.Exists;
        var place = new RecordPlace(position, record.Head.LastSeq);
        saga.HistoryBytes += record.History.Length;
        saga.InFlight = null;
        if (isNew) entry.FirstSegment = place.Segment;
        entry.Place(place);
        SetLiveBytes_NeedsLock(entry, record.Bare + saga.HistoryBytes, isNew);
        if (state.Ended)
        {
            entry.FinishedAt = record.Head.FinishedAt;
            entry.State = null;
            _open.Remove(state.Id.Value);
        }
        else
        {
            entry.State = state;
            saga.Places.Add(place);
        }

        if (isNew)
        {
            entry.Status = record.Head.Status;
            _index.Add_NeedsLock(entry);
        }
        else _index.SetStatus_NeedsLock(entry, record.Head.Status);
    }

    /// <summary>Nothing was written: the claims are free again.</summary>
    void Release(Round round)
    {
        lock (_index.Gate)
        {
            foreach (var (saga, commit, _) in round.Claims)
            {
                saga.InFlight = null;
                if (!saga.Exists) _open.Remove(commit.State.Id.Value);
            }

            _rounds.Remove(round);
        }

        round.End();
    }

    StoreUnavailableException Fail(Exception error)
    {
        bool first;
        lock (_index.Gate)
        {
            first = _failure is null && !_closed;
            if (first) _failure = error;
        }

        if (first) _log.LogCritical(error, "The journal in {Directory} has failed; nothing more is committed until the node is started again.", _options.Path);
        return Unavailable(error);
    }

    StoreUnavailableException Unavailable(Exception error) => error is JournalFailedException
        ? new StoreUnavailableException(error.Message, error)
        : new StoreUnavailableException($"The journal in '{_options.Path}' has failed: {error.Message} Whether the last commits are durable is unknown. "
            + "Check the disk, then start again: recovery finds out.", error);

    /// <summary>A finished saga's state; one that was forgotten since is null.</summary>
    SagaState? ReadBack(SagaEntry entry)
    {
        JournalPosition position;
        lock (_index.Gate)
        {
            if (!ReferenceEquals(_index.Find_NeedsLock(entry), entry)) return null;
            if (entry.State is { } open) return open;
            position = entry.Position;
        }

        return Read(position).State();
    }

    void ReadHistory(ReadOnlySpan<RecordPlace> places, List<HistoryEntry> to, int after, int limit)
    {
        foreach (var place in places)
        {
            if (place.LastSeq <= after) continue;
            if (to.Count >= limit) return;
            Read(place.Position).ReadHistory(to, after, limit);
        }
    }

    SagaRecord Read(JournalPosition position) => SagaRecord.Read(Journal.Read(position));

    /// <summary>What was looked up may move, and its segment be dropped, before it is read: then it is looked up again.</summary>
    T Retrying<T>(Func<T> read)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return read();
            }
            catch (KeyNotFoundException) when (attempt < 10)
            {
            }
            catch (Exception error) when (error is IOException or ObjectDisposedException or KeyNotFoundException)
            {
                throw new StoreUnavailableException($"The journal in '{_options.Path}' cannot be read: {error.Message}", error);
            }
        }
    }
}

using System.Buffers;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Sagas.Runtime;
using StackExchange.Redis;

namespace Sagas.Redis;

// Sagas are spread over partitions by their id. All keys of a partition have the same hash tag, {prefix:number}, so that a script may touch any of them and
// a cluster may hold each partition where it likes:
//
//   saga:ID              hash: v version, c commit id, s state, n status, o owner, d definition, dv its version, a started at, t tags, w steps under way,
//                        e errors
//   history:ID           list: one entry each
//   status:N             sorted set of ids by start: the sagas of that status; definition:N:NAME those of one definition besides
//   value:VALUE          sorted set of ids by start: the sagas with a tag of that value
//   tally:N:KEY:VALUE    hash: how many sagas with that tag, whose key has N bytes, are in each status and definition (field: status, line feed, definition);
//                        what comes down to nothing is removed, so that counts, and lists that cannot find anything, need not look at sagas
//   ids                  sorted set without scores: all ids, to look for those that begin with a text
//   ended                sorted set of ids by end: what is forgotten next
//   owned:NODE           set of ids: the unfinished sagas of that node
//   commits              the counter of commits
//   await, await:ID      some node wants to hear of all commits, or of that saga's; they expire unless they are renewed
//
// What is of all partitions lies under {prefix:nodes}: leases, nodes, layout and definitions.

/// <summary>Keeps sagas in Redis, one server or a cluster, for one engine node or many.</summary>
public sealed partial class RedisStore : ISharedSagaStore
{
    private const int Slice = 2000;
    private static readonly TimeSpan RepeatDelay = TimeSpan.FromMilliseconds(100);
    private static readonly Script s_commit = Script.Of("commit"), s_walk = Script.Of("walk"), s_count = Script.Of("count"), s_expire = Script.Of("expire"), s_operation = Script.Of("operation"), s_audit = Script.Of("audit");
    private readonly RedisOptions _options;
    private readonly TimeSpan _retention;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly RedisLink _link;
    private readonly Partition[] _partitions;
    private readonly CancellationTokenSource _stop = new();
    private readonly byte[] _nodeUtf8;
    private readonly string _life = Guid.NewGuid().ToString("N")[..12];
    private Task _housekeeping = Task.CompletedTask;
    private long _commits;

    /// <summary>A store that is not open yet.</summary>
    /// <param name="options">Where Redis is.</param>
    /// <param name="engine">The node's name, and how long finished sagas are kept.</param>
    /// <param name="time">The clock by which finished sagas grow old.</param>
    /// <param name="log">Where to say what is wrong; null: nowhere.</param>
    public RedisStore(IOptions<RedisOptions> options, IOptions<SagasOptions> engine, TimeProvider time, ILogger<RedisStore>? log = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(engine);
        (_options, Node, _retention, _time, _log) = (options.Value, engine.Value.Node, engine.Value.Retention, time, (ILogger?)log ?? NullLogger.Instance);
        _nodeUtf8 = Encoding.UTF8.GetBytes(Node);
        _partitions = [.. Enumerable.Range(0, _options.Partitions).Select(number => new Partition(number, $"{{{_options.Prefix}:{number}}}:"))];
        _link = new RedisLink(_options, [.. _partitions.Select(static partition => partition.Key("probe"))], time, _log);
    }

    /// <inheritdoc/>
    public StoreHealth Health => _link.Health is { Level: StoreLevel.Good } good && _lost is { } lost && _time.GetUtcNow() - lost.At < Remembered
        ? good with { Detail = good.Detail is null ? lost.Detail : $"{lost.Detail} {good.Detail}" }
        : _link.Health;

    /// <inheritdoc/>
    public string Node { get; }

    /// <inheritdoc/>
    public async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(commits);
        cancel.ThrowIfCancellationRequested();
        var pending = new Pending[commits.Count];
        for (var i = 0; i < pending.Length; i++) pending[i] = Prepare(commits[i]);
        // While Redis is known to be down there is no use in waiting for it; on a cluster those partitions that are well go on.
        var isDown = _link.Health.Level == StoreLevel.Down;
        var patience = isDown ? TimeSpan.Zero : _options.Timeout;
        var began = TimeProvider.System.GetTimestamp();
        var open = pending;
        while (true)
        {
            await SendAsync(open, isDown ? _options.Timeout / 6 : _options.Timeout).ConfigureAwait(false);
            open = Array.FindAll(open, static one => one.Outcome == CommitOutcome.Unknown);
            // What was cut off may have been done: asked again under the same commit id, Redis says so.
            if (open.Length == 0 || TimeProvider.System.GetElapsedTime(began) + RepeatDelay >= patience) break;
            await Task.Delay(RepeatDelay, CancellationToken.None).ConfigureAwait(false);
        }
        if (open.Length > 0 && open.Length == pending.Length) throw open[0].Trouble!;
        return [.. pending.Select(static one => one.Outcome)];
    }

    /// <inheritdoc/>
    public async ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel) =>
        (await StatesAsync([id.Value], cancel).ConfigureAwait(false))[0];

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel)
    {
        var partition = PartitionOf(id.Value);
        var last = Math.Min((long)after + limit, int.MaxValue) - 1;
        // Together in one round, on one connection: in this order.
        var found = await _link.AskAsync(async database =>
        {
            var there = database.KeyExistsAsync(partition.Key("saga:" + id), CommandFlags.DemandMaster);
            var entries = database.ListRangeAsync(partition.Key("history:" + id), after, last, CommandFlags.DemandMaster);
            return await there.ConfigureAwait(false) | (await entries.ConfigureAwait(false)).Length > 0 ? await entries.ConfigureAwait(false) : null;
        }, cancel).ConfigureAwait(false);
        return found is null ? null : limit <= 0 ? [] : [.. found.Select(static entry => StateJson.ReadHistory((byte[])entry!))];
    }

    /// <inheritdoc/>
    public async ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(filter);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var below = cursor is null ? default : ReadCursor(cursor);
        var hits = await NewestAsync(new Query(filter), below, limit + 1, cancel).ConfigureAwait(false);
        var page = hits.Take(limit).ToArray();
        var states = await StatesAsync([.. page.Select(static hit => hit.Id!)], cancel).ConfigureAwait(false);
        return new SagaPage([.. states.OfType<SagaState>()], hits.Count > limit ? WriteCursor(page[^1]) : null);
    }

    /// <inheritdoc/>
    public async ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(filter);
        var query = new Query(filter);
        var counts = new long[7];
        if (query.Statuses.Length == 0) return ImmutableDictionary<SagaStatus, long>.Empty;
        if (query.NeedsWalk)
            await WalkAllAsync([.. _partitions.Select(static partition => new Walk(partition))], query, int.MaxValue, counting: true, (_, answer) => Add(answer, 3), cancel).ConfigureAwait(false);
        else
            foreach (var answer in await _link.AskAsync(database => Task.WhenAll(_partitions.Select(async partition =>
                (RedisResult[])(await RedisLink.EvalAsync(database, s_count, [partition.Counter], query.CountArguments(partition)).ConfigureAwait(false))!)), cancel).ConfigureAwait(false))
                Add(answer, 0);
        return query.Statuses.Select(static digit => digit - '0').Where(status => counts[status] > 0).ToImmutableDictionary(static status => (SagaStatus)status, status => counts[status]);

        void Add(RedisResult[] answer, int from)
        {
            for (var status = 0; status < counts.Length; status++) counts[status] += (long)answer[from + status];
        }
    }

    /// <inheritdoc/>
    public async ValueTask<DateTimeOffset?> OldestUnfinishedAsync(CancellationToken cancel)
    {
        var oldest = await _link.AskAsync(database => Task.WhenAll(from partition in _partitions from status in Enumerable.Range(0, 4)
            select database.SortedSetRangeByRankWithScoresAsync(partition.Key($"status:{status}"), 0, 0, Order.Ascending, CommandFlags.DemandMaster)), cancel).ConfigureAwait(false);
        return oldest.SelectMany(static found => found).Min(static found => (double?)found.Score) is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds((long)ms) : null;
    }

    /// <inheritdoc/>
    public async ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(definition);
        cancel.ThrowIfCancellationRequested();
        var field = $"{definition.Version} {definition.Name}";
        var isNew = await _link.AskAsync(database => database.HashSetAsync(DefinitionsKey, field, definition.ToUtf8(), When.NotExists, CommandFlags.DemandMaster), CancellationToken.None).ConfigureAwait(false);
        if (isNew)
        {
            await TellNodesAsync("definitions").ConfigureAwait(false);
            return DefinitionOutcome.Saved;
        }
        var kept = await _link.AskAsync(database => database.HashGetAsync(DefinitionsKey, field, CommandFlags.DemandMaster), CancellationToken.None).ConfigureAwait(false);
        return StoredDefinition.Parse((byte[])kept!).Fingerprint == definition.Fingerprint ? DefinitionOutcome.Exists : DefinitionOutcome.Conflict;
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<StoredDefinition>> DefinitionsAsync(CancellationToken cancel)
    {
        var kept = await _link.AskAsync(database => database.HashValuesAsync(DefinitionsKey, CommandFlags.DemandMaster), cancel).ConfigureAwait(false);
        return [.. kept.Select(static value => StoredDefinition.Parse((byte[])value!)).OrderBy(static one => one.Name, StringComparer.Ordinal).ThenBy(static one => one.Version)];
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _housekeeping.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _link.DisposeAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(operation);
        cancel.ThrowIfCancellationRequested();
        return (long)await _link.AskAsync(database => RedisLink.EvalAsync(database, s_operation, [OperationsKey], [operation.Id, operation.Version - 1, operation.ToUtf8()])).ConfigureAwait(false) == 1;
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<Operation>> OperationsAsync(CancellationToken cancel)
    {
        var kept = await _link.AskAsync(database => database.HashValuesAsync(OperationsKey, CommandFlags.DemandMaster), cancel).ConfigureAwait(false);
        return [.. kept.Select(static value => Operation.Parse((byte[])value!)).OrderByDescending(static one => one.Id, StringComparer.Ordinal)];
    }

    /// <inheritdoc/>
    public async ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(entry);
        cancel.ThrowIfCancellationRequested();
        // Members of one score lie in the order of their bytes: of the ids that they begin with.
        var member = Encoding.UTF8.GetBytes(entry.Id + " ").Concat(entry.ToUtf8()).ToArray();
        await _link.AskAsync(database => database.SortedSetAddAsync(AuditKey, member, 0, CommandFlags.DemandMaster)).ConfigureAwait(false);
        await _link.AskAsync(database => database.SortedSetRemoveRangeByRankAsync(AuditKey, 0, -AuditEntry.MostKept - 1, CommandFlags.DemandMaster)).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel)
    {
        var found = (RedisResult[])(await _link.AskAsync(database => RedisLink.EvalAsync(database, s_audit, [AuditKey], [before is null ? "+" : $"({before}", limit]), cancel).ConfigureAwait(false))!;
        return [.. found.Select(static one => (byte[])one!).Select(static bytes => AuditEntry.Parse(bytes.AsMemory(Array.IndexOf(bytes, (byte)' ') + 1)))];
    }

    private RedisKey AuditKey => $"{{{_options.Prefix}:nodes}}:audit";

    private RedisKey OperationsKey => $"{{{_options.Prefix}:nodes}}:operations";

    private RedisKey DefinitionsKey => $"{{{_options.Prefix}:nodes}}:definitions";

    /// <summary>Forgets what ended too long ago, now.</summary>
    internal async Task ExpireAsync()
    {
        const int Most = 200;
        var until = (_time.GetUtcNow() - _retention).ToUnixTimeMilliseconds();
        var ended = (await OperationsAsync(default).ConfigureAwait(false)).Where(one => one.FinishedAt?.ToUnixTimeMilliseconds() <= until).Select(static one => (RedisValue)one.Id).ToArray();
        if (ended.Length > 0) await _link.AskAsync(database => database.HashDeleteAsync(OperationsKey, ended)).ConfigureAwait(false);
        // An id begins with its time, Unix milliseconds in hexadecimal.
        await _link.AskAsync(database => database.SortedSetRemoveRangeByValueAsync(AuditKey, RedisValue.Null, $"{until + 1:x12}", Exclude.Stop, CommandFlags.DemandMaster)).ConfigureAwait(false);
        foreach (var partition in _partitions)
            while ((long)await _link.AskAsync(database => RedisLink.EvalAsync(database, s_expire, [partition.Counter], [partition.Prefix, until, Most])).ConfigureAwait(false) == Most)
            {
            }
    }

    private async Task KeepHouseAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMinutes(1), _time);
        while (true)
        {
            try
            {
                if (!await timer.WaitForNextTickAsync(_stop.Token).ConfigureAwait(false)) return;
                await ExpireAsync().ConfigureAwait(false);
            }
            catch (StoreUnavailableException)
            {
                // The next minute will do.
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    // ── Commits ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    private Pending Prepare(SagaCommit commit)
    {
        var (saga, history) = commit;
        var partition = PartitionOf(saga.Id.Value);
        var isFirst = saga.Version == 1;
        var values = isFirst ? saga.Tags.Values.Distinct(StringComparer.Ordinal).ToArray() : [];
        var arguments = new RedisValue[16 + values.Length + history.Length];
        var text = t_text ??= new ArrayBufferWriter<byte>(1024);
        arguments[0] = partition.Prefix;
        arguments[1] = saga.Id.Value;
        arguments[2] = saga.Version - 1;
        arguments[3] = $"{_life}.{Interlocked.Increment(ref _commits)}";
        arguments[4] = commit.TakenFrom ?? Node;
        arguments[5] = Node;
        arguments[6] = (int)saga.Status;
        arguments[7] = saga.Ended ? (saga.FinishedAt ?? saga.UpdatedAt).ToUnixTimeMilliseconds() : "";
        StateJson.Write(text, saga);
        arguments[8] = Taken(text);
        arguments[9] = UnderWay(saga);
        arguments[10] = saga.Definition;
        arguments[11] = saga.Inline is null ? saga.DefinitionVersion : InlineVersion;
        arguments[12] = saga.StartedAt.ToUnixTimeMilliseconds();
        arguments[13] = isFirst && !saga.Tags.IsEmpty ? JsonSerializer.SerializeToUtf8Bytes(saga.Tags.ToDictionary()) : "";
        arguments[14] = ErrorsOf(saga);
        arguments[15] = values.Length;
        for (var i = 0; i < values.Length; i++) arguments[16 + i] = values[i];
        for (var i = 0; i < history.Length; i++)
        {
            StateJson.Write(text, history[i]);
            arguments[16 + values.Length + i] = Taken(text);
        }
        return new Pending(saga, partition, arguments);

        static byte[] Taken(ArrayBufferWriter<byte> written)
        {
            var bytes = written.WrittenSpan.ToArray();
            written.ResetWrittenCount();
            return bytes;
        }
    }

    [ThreadStatic] private static ArrayBufferWriter<byte>? t_text;

    /// <summary>Stands for the version of a definition that came with its saga: no place of a step names it, and its steps are filed by their names.</summary>
    private const string InlineVersion = "inline";

    /// <summary>What the listing by step knows a step by.</summary>
    private static string StepKey(SagaState saga, int index) =>
        saga.Inline?.Definition is { } own && index < own.Steps.Length ? own.Steps[index].Name : index.ToString(CultureInfo.InvariantCulture);

    /// <summary>The steps that are under way, as the listing by step looks for them: <c>|0|2|</c>.</summary>
    private static string UnderWay(SagaState saga)
    {
        if (saga.Ended) return "";
        var steps = new StringBuilder("|");
        for (var i = 0; i < saga.Steps.Length; i++)
            if (saga.Steps[i].Phase is not null || saga.Steps[i].Status == StepStatus.Waiting) steps.Append(StepKey(saga, i)).Append('|');
        return steps.ToString();
    }

    /// <summary>What the listing by error looks at: the saga's step and code, then index and code of each step that has an error.</summary>
    private static RedisValue ErrorsOf(SagaState saga)
    {
        if (saga.Ended || (saga.Error is null && saga.Steps.All(static step => step.Error is null))) return "";
        var errors = new List<string> { saga.Error?.Step ?? "", saga.Error?.Code ?? "" };
        for (var i = 0; i < saga.Steps.Length; i++)
            if (saga.Steps[i].Error is { } error) errors.AddRange([StepKey(saga, i), error.Code]);
        return JsonSerializer.SerializeToUtf8Bytes(errors);
    }

    /// <summary>One round: all go out together, and each gets its outcome.</summary>
    private async Task SendAsync(Pending[] pending, TimeSpan timeout)
    {
        await RoundAsync(pending, [], timeout).ConfigureAwait(false);
        if (!Array.Exists(pending, static one => one.NeedsScript)) return;
        // A server that does not know the script has done nothing. A version that came after one of those in the same call met a conflict for it.
        var sagas = new HashSet<string>();
        var again = Array.FindAll(pending, one => one.NeedsScript ? sagas.Add(one.Saga.Id.Value) | true : one.Outcome == CommitOutcome.Conflict && sagas.Contains(one.Saga.Id.Value));
        // The first of each partition brings the text; the others follow it on the same connection.
        await RoundAsync(again, [.. again.DistinctBy(static one => one.Partition.Number)], timeout).ConfigureAwait(false);
    }

    private async Task RoundAsync(Pending[] pending, HashSet<Pending> withText, TimeSpan timeout)
    {
        var answers = new Task<RedisResult>[pending.Length];
        try
        {
            var database = _link.Database;
            for (var i = 0; i < pending.Length; i++)
            {
                var one = pending[i];
                one.Seen = Volatile.Read(ref one.Partition.Commits);
                answers[i] = withText.Contains(one)
                    ? RedisLink.EvalTextAsync(database, s_commit, [one.Partition.Counter], one.Arguments)
                    : database.ScriptEvaluateAsync(s_commit.Hash, [one.Partition.Counter], one.Arguments, CommandFlags.DemandMaster);
            }
            await Task.WhenAll(answers).WaitAsync(timeout).ConfigureAwait(false);
        }
        catch (Exception e) when (RedisLink.IsTrouble(e))
        {
            // Each answer is looked at by itself.
        }
        StoreUnavailableException? trouble = null;
        for (var i = 0; i < pending.Length; i++)
        {
            var (one, answer) = (pending[i], answers[i]);
            one.NeedsScript = false;
            if (answer is { IsCompletedSuccessfully: true }) Committed(one, (long)answer.Result);
            else
            {
                one.Outcome = CommitOutcome.Unknown;
                var why = answer is { IsFaulted: true } ? answer.Exception.GetBaseException() : new TimeoutException();
                one.NeedsScript = RedisLink.IsUnknownScript(why) && !withText.Contains(one);
                if (!one.NeedsScript) one.Trouble = trouble ??= _link.Troubled(why);
            }
        }
    }

    private void Committed(Pending one, long counter)
    {
        one.Outcome = counter == 0 ? CommitOutcome.Conflict : CommitOutcome.Committed;
        if (counter == 0) return;
        // Every commit raises the counter: one that is not above what was seen before it was sent tells of lost writes.
        Notice(one.Partition, one.Seen, Math.Abs(counter), isNew: counter > 0);
        one.Partition.Last = new LastCommit(one.Saga.Id.Value, one.Saga.Version, _time.GetUtcNow());
    }

    private void Notice(Partition partition, long seen, long counter, bool isNew)
    {
        if (counter < seen || (isNew && counter == seen))
        {
            if (Interlocked.CompareExchange(ref partition.Commits, counter, seen) == seen || Volatile.Read(ref partition.Commits) > counter) WentBack(partition, seen, counter);
            return;
        }
        for (var known = Volatile.Read(ref partition.Commits); counter > known;)
        {
            var now = Interlocked.CompareExchange(ref partition.Commits, counter, known);
            if (now == known) return;
            known = now;
        }
    }

    // ── Listing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>The newest so many, merged over the partitions: each gives its next few whenever they are used up.</summary>
    private async Task<List<Hit>> NewestAsync(Query query, Hit below, int most, CancellationToken cancel)
    {
        var hits = new List<Hit>(Math.Min(most, 512));
        if (query.Statuses.Length == 0) return hits;
        var walks = _partitions.Select(partition => new Walk(partition) { Below = below }).ToArray();
        // A fair share and some more: most pages take one round.
        var share = Math.Min(most, (most / walks.Length * 3 / 2) + 8);
        while (hits.Count < most)
        {
            await WalkAllAsync(walks, query, share, counting: false, static (walk, answer) =>
            {
                for (var i = 3; i < answer.Length; i += 2) walk.Found.Enqueue(new Hit((long)answer[i], (string)answer[i + 1]!));
            }, cancel).ConfigureAwait(false);
            Walk? newest = null;
            foreach (var walk in walks)
                if (walk.Found.TryPeek(out var head) && (newest is null || head.CompareTo(newest.Found.Peek()) > 0)) newest = walk;
            if (newest is null) break;
            hits.Add(newest.Found.Dequeue());
        }
        return hits;
    }

    /// <summary>Lets every walk that has nothing found go on until it has, or is at its end.</summary>
    private async Task WalkAllAsync(Walk[] walks, Query query, int most, bool counting, Action<Walk, RedisResult[]> take, CancellationToken cancel)
    {
        while (Array.FindAll(walks, static walk => walk is { Done: false, Found.Count: 0 }) is { Length: > 0 } going)
        {
            var answers = await _link.AskAsync(database => Task.WhenAll(going.Select(walk =>
                RedisLink.EvalAsync(database, s_walk, [walk.Partition.Counter], query.Arguments(walk, counting, most, Slice)))), cancel).ConfigureAwait(false);
            for (var i = 0; i < going.Length; i++)
            {
                var answer = (RedisResult[])answers[i]!;
                going[i].Done = (long)answer[0] == 1;
                if (!going[i].Done) going[i].Below = new Hit((long)answer[1], (string)answer[2]!);
                take(going[i], answer);
            }
        }
    }

    private async Task<SagaState?[]> StatesAsync(IReadOnlyList<string> ids, CancellationToken cancel)
    {
        if (ids.Count == 0) return [];
        var states = await _link.AskAsync(database => Task.WhenAll(ids.Select(id => database.HashGetAsync(PartitionOf(id).Key("saga:" + id), "s", CommandFlags.DemandMaster))), cancel).ConfigureAwait(false);
        return Array.ConvertAll(states, static state => state.IsNull ? null : StateJson.Read((byte[])state!));
    }

    private static string WriteCursor(Hit last) => Base64Url.EncodeToString(Encoding.ASCII.GetBytes($"{last.Start} {last.Id}"));

    private static Hit ReadCursor(string cursor)
    {
        try
        {
            var text = Encoding.ASCII.GetString(Base64Url.DecodeFromChars(cursor));
            var space = text.IndexOf(' ', StringComparison.Ordinal);
            if (space > 0 && space + 1 < text.Length && long.TryParse(text.AsSpan(0, space), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var start)
                && !text.AsSpan(space + 1).ContainsAnyExceptInRange('!', '~')) return new Hit(start, text[(space + 1)..]);
        }
        catch (FormatException)
        {
            // Said below.
        }
        throw new FormatException("The cursor is none that a listing gave out. Use the 'next' of the page before, unchanged, or leave it out to start anew.");
    }

    /// <summary>Where a saga lies (FNV-1a of its id): the same in every process.</summary>
    private Partition PartitionOf(string id)
    {
        var hash = 2166136261u;
        foreach (var c in id) hash = (hash ^ c) * 16777619u;
        return _partitions[(hash >> 8) % (uint)_partitions.Length];
    }

    /// <summary>One part of the sagas, with a hash tag of its own.</summary>
    private sealed class Partition(int number, string prefix)
    {
        /// <summary>The highest counter of commits that this node has seen.</summary>
        public long Commits;

        public int Number { get; } = number;

        public RedisValue Prefix { get; } = prefix;

        public RedisKey Counter { get; } = prefix + "commits";

        /// <summary>This node's last commit here.</summary>
        public LastCommit? Last { get; set; }

        public RedisKey Key(string name) => prefix + name;
    }

    private sealed record LastCommit(string Id, long Version, DateTimeOffset At);

    /// <summary>A commit on its way.</summary>
    private sealed class Pending(SagaState saga, Partition partition, RedisValue[] arguments)
    {
        public SagaState Saga { get; } = saga;
        public Partition Partition { get; } = partition;
        public RedisValue[] Arguments { get; } = arguments;
        public CommitOutcome Outcome { get; set; } = CommitOutcome.Unknown;
        public StoreUnavailableException? Trouble { get; set; }
        public bool NeedsScript { get; set; }

        /// <summary>The counter of commits when it was sent.</summary>
        public long Seen { get; set; }
    }

    /// <summary>A saga in a listing: by start, then by id.</summary>
    private readonly record struct Hit(long Start, string? Id) : IComparable<Hit>
    {
        public int CompareTo(Hit other) => Start != other.Start ? Start.CompareTo(other.Start) : string.CompareOrdinal(Id, other.Id);
    }

    /// <summary>How far a listing has come in one partition.</summary>
    private sealed class Walk(Partition partition)
    {
        public Partition Partition { get; } = partition;
        public Queue<Hit> Found { get; } = [];
        public Hit Below { get; set; }
        public bool Done { get; set; }
    }

    /// <summary>A filter in the words of the scripts.</summary>
    private sealed class Query
    {
        private readonly SagaFilter _filter;
        private readonly List<RedisValue> _rest = [];
        private readonly ImmutableArray<KeyValuePair<string, string>> _tags;

        public Query(SagaFilter filter)
        {
            _filter = filter;
            var statuses = filter.Statuses is { IsDefaultOrEmpty: false } wanted ? wanted.Distinct().Order() : Enum.GetValues<SagaStatus>().AsEnumerable();
            if (filter.UnfinishedOnly) statuses = statuses.Where(static status => status < SagaStatus.Completed);
            Statuses = string.Concat(statuses.Select(static status => (char)('0' + (int)status)));
            After = filter.StartedAfter is { } after ? Ceiling(after) : "";
            Before = filter.StartedBefore is { } before ? Ceiling(before) : "";
            var tags = filter.Tags is { IsDefault: false } some ? some : [];
            _rest.Add(tags.Length);
            foreach (var (key, value) in tags) _rest.AddRange([key, value]);
            var places = filter.StepPlaces.IsDefault ? [] : filter.StepPlaces;
            _rest.Add(filter.Step is null ? -1 : places.Length + 1);
            if (filter.Step is not null)
            {
                foreach (var place in places) _rest.AddRange([place.Definition, place.Version, place.Index]);
                // A saga that brought its definition knows the step by its name.
                _rest.AddRange(["", InlineVersion, filter.Step]);
            }
            _tags = tags;
            NeedsWalk = filter.UnfinishedOnly || !string.IsNullOrEmpty(filter.Text) || tags.Length > 1 || (tags.Length == 1 && (After.Length > 0 || Before.Length > 0));
        }

        /// <summary>The statuses' digits; empty: nothing can match.</summary>
        public string Statuses { get; }

        public string After { get; }

        public string Before { get; }

        /// <summary>Whether counting takes a look at sagas one by one.</summary>
        public bool NeedsWalk { get; }

        public RedisValue[] Arguments(Walk walk, bool counting, int most, int slice) =>
        [
            walk.Partition.Prefix, counting ? "count" : "list", most, slice, walk.Below.Id is null ? "" : walk.Below.Start, walk.Below.Id ?? "", After, Before,
            _filter.Definition ?? "", Statuses, _filter.Text ?? "", _filter.Error ?? "", _filter.Step ?? "", .. _rest,
        ];

        /// <summary>For a count that needs no walk.</summary>
        public RedisValue[] CountArguments(Partition partition) =>
        [
            partition.Prefix, _filter.Definition ?? "", After, Before is "" ? "" : "(" + Before, .. _tags.SelectMany(static tag => (RedisValue[])[tag.Key, tag.Value]),
        ];

        private static string Ceiling(DateTimeOffset time) =>
            (time.ToUnixTimeMilliseconds() + (time.UtcTicks % TimeSpan.TicksPerMillisecond == 0 ? 0 : 1)).ToString(CultureInfo.InvariantCulture);
    }
}

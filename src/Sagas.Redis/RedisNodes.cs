using System.Collections.Concurrent;
using System.Text;
using Sagas.Runtime;
using StackExchange.Redis;

namespace Sagas.Redis;

// Each unfinished saga has an owner, the node that committed it last, and lies in the owner's set. A node that does not renew its lease loses its sagas to the
// others. Safety does not rest on leases or clocks: a commit is refused by version and owner. They only say who is to go on.
public sealed partial class RedisStore
{
    /// <summary>How sagas are laid out in Redis: raised with every change that an older or newer program would not keep to. 2: with a tally of each tag.</summary>
    private const int Format = 2;
    private const int ClaimAtOnce = 100;
    private static readonly Script s_claim = Script.Of("claim"), s_lease = Script.Of("lease"), s_release = Script.Of("release");
    private static readonly TimeSpan Fresh = TimeSpan.FromMinutes(1), Remembered = TimeSpan.FromHours(1);
    private DateTimeOffset _startedAt;
    private INodeListener? _listener;
    private readonly ConcurrentDictionary<string, Asking> _asking = new();
    private volatile Loss? _lost;
    private long _questions;

    private RedisChannel NodesChannel => Channel("nodes");

    private RedisChannel TakenChannel => Channel("taken:" + Node);

    private RedisChannel HeardChannel => Channel("heard");

    private RedisChannel AskedChannel => Channel("asked");

    private RedisChannel AnswersChannel(string node) => Channel("answers:" + node);

    private RedisKey[] LeaseKeys => [$"{{{_options.Prefix}:nodes}}:leases", $"{{{_options.Prefix}:nodes}}:nodes"];

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel)
    {
        await _link.OpenAsync(cancel).ConfigureAwait(false);
        await CheckLayoutAsync(cancel).ConfigureAwait(false);
        await SubscribeAsync().ConfigureAwait(false);
        _startedAt = _time.GetUtcNow();
        var nodes = await EnterAsync(cancel).ConfigureAwait(false);
        await TellNodesAsync("entered").ConfigureAwait(false);
        foreach (var node in nodes.Where(static node => !node.IsAlive))
            while ((await ClaimAsync(node.Id, int.MaxValue, cancel).ConfigureAwait(false)).Count > 0)
            {
            }
        var unfinished = await OwnedAsync(static _ => true, cancel).ConfigureAwait(false);
        _housekeeping = Task.Run(KeepHouseAsync, CancellationToken.None);
        return unfinished;
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<NodeLease>> RenewAsync(CancellationToken cancel)
    {
        var answer = (RedisResult[])(await _link.AskAsync(database => RedisLink.EvalAsync(database, s_lease, LeaseKeys,
            [Node, _life, (long)_options.Lease.TotalMilliseconds, _startedAt.ToUnixTimeMilliseconds()]), cancel).ConfigureAwait(false))!;
        if ((long)answer[0] == 0)
            throw new NodeNameTakenException($"Another process is alive under the name of this node, '{Node}'. Give every node a name of its own (Sagas:Node), or leave it out.");
        await VerifyAsync(cancel).ConfigureAwait(false);
        var now = (long)answer[1];
        var nodes = new List<NodeLease>();
        for (var i = 2; i < answer.Length; i += 4)
            nodes.Add(new NodeLease((string)answer[i]!, Time(answer[i + 2]), Time(answer[i + 3]), (long)answer[i + 1] > now));
        return nodes;

        static DateTimeOffset Time(RedisResult ms) => DateTimeOffset.FromUnixTimeMilliseconds((long)ms);
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SagaState>> ClaimAsync(string node, int most, CancellationToken cancel)
    {
        ArgumentException.ThrowIfNullOrEmpty(node);
        var claimed = new List<SagaState>();
        // From another end than the others, who claim at the same time.
        var first = Random.Shared.Next(_partitions.Length);
        for (var i = 0; i < _partitions.Length && claimed.Count < most; i++)
        {
            var partition = _partitions[(first + i) % _partitions.Length];
            for (var left = 1L; left > 0 && claimed.Count < most;)
            {
                var answer = (RedisResult[])(await _link.AskAsync(database => RedisLink.EvalAsync(database, s_claim, [partition.Counter],
                    [partition.Prefix, node, Node, Math.Min(ClaimAtOnce, most - claimed.Count)]), cancel).ConfigureAwait(false))!;
                left = (long)answer[0];
                foreach (var state in answer.Skip(1)) claimed.Add(StateJson.Read((byte[])state!));
            }
        }
        return claimed;
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<SagaState>> OwnedAsync(Predicate<SagaId> which, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(which);
        var owned = await _link.AskAsync(database => Task.WhenAll(_partitions.Select(partition =>
            database.SetMembersAsync(partition.Key("owned:" + Node), CommandFlags.DemandMaster))), cancel).ConfigureAwait(false);
        var sagas = new List<SagaState>();
        foreach (var ids in owned.SelectMany(static ids => ids).Select(static id => (string)id!).Where(id => which(new SagaId(id))).Chunk(500))
            sagas.AddRange((await StatesAsync(ids, cancel).ConfigureAwait(false)).OfType<SagaState>().Where(static saga => !saga.Ended));
        return sagas;
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyDictionary<string, long>> OwnersAsync(IReadOnlyList<string> nodes, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(nodes);
        var counts = await _link.AskAsync(database => Task.WhenAll(from node in nodes from partition in _partitions
            select database.SetLengthAsync(partition.Key("owned:" + node), CommandFlags.DemandMaster)), cancel).ConfigureAwait(false);
        return nodes.Select((node, i) => KeyValuePair.Create(node, counts.AsSpan(i * _partitions.Length, _partitions.Length).ToArray().Sum())).ToDictionary();
    }

    /// <inheritdoc/>
    public async ValueTask ReleaseAsync(CancellationToken cancel)
    {
        await _link.AskAsync(database => RedisLink.EvalAsync(database, s_release, LeaseKeys, [Node, _life]), cancel).ConfigureAwait(false);
        await TellNodesAsync("left").ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public TimeSpan Lease => _options.Lease;

    /// <inheritdoc/>
    public void Listen(INodeListener listener) => _listener = listener;

    /// <inheritdoc/>
    public async ValueTask WatchAsync(SagaId? saga, CancellationToken cancel)
    {
        await _link.AskAsync(database => saga is { } id
            ? database.StringSetAsync(PartitionOf(id.Value).Key("await:" + id), "1", _options.Lease, When.Always, CommandFlags.DemandMaster)
            : AllAsync(database), cancel).ConfigureAwait(false);

        async Task<bool> AllAsync(IDatabase database)
        {
            await Task.WhenAll(_partitions.Select(partition => database.StringSetAsync(partition.Key("await"), "1", _options.Lease, When.Always, CommandFlags.DemandMaster))).ConfigureAwait(false);
            return true;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<ReadOnlyMemory<byte>>> AskAsync(IReadOnlyCollection<string> nodes, ReadOnlyMemory<byte> question, TimeSpan patience, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(nodes);
        var number = $"{_life}.{Interlocked.Increment(ref _questions)}";
        var asking = _asking[number] = new Asking(nodes);
        try
        {
            await _link.PublishAsync(AskedChannel, Letter(Node, number, question), cancel).ConfigureAwait(false);
            await asking.All.WaitAsync(patience, TimeProvider.System, cancel).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // A node that has just died still has its lease, and one may be slow: without them.
        }
        finally
        {
            _asking.TryRemove(number, out _);
        }
        return asking.Answers;
    }

    /// <inheritdoc/>
    public async ValueTask ForgetAsync(NodeLease node, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(node);
        var before = (_time.GetUtcNow() - TimeSpan.FromDays(1)).ToUnixTimeMilliseconds();
        await _link.AskAsync(database => RedisLink.EvalAsync(database, s_release, LeaseKeys, [node.Id, "", before]), cancel).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<OwnedSaga?> FindOwnedAsync(SagaId id, CancellationToken cancel)
    {
        var found = await _link.AskAsync(database => database.HashGetAsync(PartitionOf(id.Value).Key("saga:" + id), ["s", "o"], CommandFlags.DemandMaster), cancel).ConfigureAwait(false);
        return found[0].IsNull ? null : new OwnedSaga(StateJson.Read((byte[])found[0]!), (string?)found[1]);
    }

    /// <summary>Takes the node's name. Its process before may have crashed a moment ago: its lease runs out first.</summary>
    private async Task<IReadOnlyList<NodeLease>> EnterAsync(CancellationToken cancel)
    {
        var began = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                return await RenewAsync(cancel).ConfigureAwait(false);
            }
            catch (NodeNameTakenException) when (TimeProvider.System.GetElapsedTime(began) < _options.Lease + TimeSpan.FromSeconds(1))
            {
                await Task.Delay(200, cancel).ConfigureAwait(false);
            }
        }
    }

    private async Task CheckLayoutAsync(CancellationToken cancel)
    {
        RedisKey layout = $"{{{_options.Prefix}:nodes}}:layout";
        var found = await _link.AskAsync(async database =>
        {
            await database.HashSetAsync(layout, "partitions", _options.Partitions, When.NotExists, CommandFlags.DemandMaster).ConfigureAwait(false);
            await database.HashSetAsync(layout, "format", Format, When.NotExists, CommandFlags.DemandMaster).ConfigureAwait(false);
            return await database.HashGetAsync(layout, ["partitions", "format"], CommandFlags.DemandMaster).ConfigureAwait(false);
        }, cancel).ConfigureAwait(false);
        if ((int)found[0] != _options.Partitions)
            throw new InvalidOperationException($"Sagas:Redis:Partitions is {_options.Partitions}, but the sagas under '{_options.Prefix}' are spread over {found[0]}. Use {found[0]}, or another Sagas:Redis:Prefix.");
        if ((int)found[1] != Format)
            throw new InvalidOperationException($"The sagas under '{_options.Prefix}' are stored in format {found[1]}; this program knows format {Format}. Run the version that wrote them, or use another Sagas:Redis:Prefix.");
    }

    /// <summary>Tells every node something, this one too. Who does not hear it finds out by looking.</summary>
    private async Task TellNodesAsync(string what)
    {
        try
        {
            await _link.PublishAsync(NodesChannel, what).ConfigureAwait(false);
        }
        catch (StoreUnavailableException)
        {
            // They look by themselves.
        }
    }

    private async Task SubscribeAsync()
    {
        if (_listener is not { } listener) return;
        await _link.HearAsync(
            (HeardChannel, message =>
            {
                // The committing node's name, then the state.
                var bytes = (byte[])message!;
                var end = Array.IndexOf(bytes, (byte)'\n');
                if (!bytes.AsSpan(0, end).SequenceEqual(_nodeUtf8)) listener.Heard(StateJson.Read(bytes.AsSpan(end + 1)));
            }),
            (TakenChannel, message => listener.Taken(new SagaId((string)message!))),
            (NodesChannel, message =>
            {
                if (message == "definitions") listener.DefinitionsChanged();
                else listener.NodesChanged();
            }),
            (AskedChannel, message => Answer(listener, (byte[])message!)),
            (AnswersChannel(Node), message =>
            {
                var (node, number, answer) = Opened((byte[])message!);
                if (_asking.TryGetValue(number, out var asking)) asking.Answered(node, answer);
            })).ConfigureAwait(false);
    }

    // Counting takes its time, and what the other channels tell must not wait for it.
    private void Answer(INodeListener listener, byte[] letter) => _ = Task.Run(() => AnswerAsync(listener, letter));

    private async Task AnswerAsync(INodeListener listener, byte[] letter)
    {
        var (node, number, question) = Opened(letter);
        if (node == Node) return;
        try
        {
            var answer = listener.Asked(question);
            await _link.PublishAsync(AnswersChannel(node), Letter(Node, number, answer)).ConfigureAwait(false);
        }
        catch (StoreUnavailableException)
        {
            // Then it is left out.
        }
    }

    /// <summary>Who writes, the question's number, and what is asked or answered, a line feed between.</summary>
    private static byte[] Letter(string node, string number, ReadOnlyMemory<byte> content) => [.. Encoding.UTF8.GetBytes($"{node}\n{number}\n"), .. content.Span];

    private static (string Node, string Number, ReadOnlyMemory<byte> Content) Opened(byte[] letter)
    {
        var first = Array.IndexOf(letter, (byte)'\n');
        var second = Array.IndexOf(letter, (byte)'\n', first + 1);
        return (Encoding.UTF8.GetString(letter, 0, first), Encoding.UTF8.GetString(letter, first + 1, second - first - 1), letter.AsMemory(second + 1));
    }

    private RedisChannel Channel(string name) => new($"{_options.Prefix}:{name}", RedisChannel.PatternMode.Literal);

    /// <summary>Looks whether each partition still has what this node knows to be there.</summary>
    private async Task VerifyAsync(CancellationToken cancel)
    {
        var known = _partitions.Select(static partition => (Partition: partition, Commits: Volatile.Read(ref partition.Commits), partition.Last)).ToArray();
        var found = await _link.AskAsync(database => Task.WhenAll(known.Select(async one =>
        {
            var counter = database.StringGetAsync(one.Partition.Counter, CommandFlags.DemandMaster);
            var version = one.Last is { } last ? database.HashGetAsync(one.Partition.Key("saga:" + last.Id), "v", CommandFlags.DemandMaster) : Task.FromResult(RedisValue.Null);
            return (Counter: (long)await counter.ConfigureAwait(false), Version: await version.ConfigureAwait(false));
        })), cancel).ConfigureAwait(false);
        foreach (var ((partition, commits, last), (counter, version)) in known.Zip(found))
        {
            // The counter alone would not do: others may have raised it again meanwhile. What has long been there may be forgotten by now.
            var isGone = last is { } mine && _time.GetUtcNow() - mine.At < Fresh && (version.IsNull || (long)version < mine.Version);
            if (counter >= commits && !isGone) Notice(partition, commits, counter, isNew: false);
            else if (Interlocked.CompareExchange(ref partition.Commits, counter, commits) == commits) WentBack(partition, commits, counter);
        }
    }

    private void WentBack(Partition partition, long seen, long counter)
    {
        partition.Last = null;
        _lost = new Loss($"Redis has lost its last writes: partition {partition.Number} went back from commit {seen} to {counter}, as after a failover or a restart. Its sagas were read again and go on from there; "
            + "participants' barriers make up for commands that are sent twice.", _time.GetUtcNow());
        Log.WentBack(_log, partition.Number, seen, counter);
        _listener?.WritesLost();
    }

    private sealed record Loss(string Detail, DateTimeOffset At);

    /// <summary>A question under way.</summary>
    private sealed class Asking(IReadOnlyCollection<string> nodes)
    {
        private readonly TaskCompletionSource _all = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly ConcurrentDictionary<string, ReadOnlyMemory<byte>> _answers = new();

        public Task All => _all.Task;

        public IReadOnlyList<ReadOnlyMemory<byte>> Answers => [.. _answers.Values];

        public void Answered(string node, ReadOnlyMemory<byte> answer)
        {
            _answers[node] = answer;
            if (nodes.All(_answers.ContainsKey)) _all.TrySetResult();
        }
    }
}

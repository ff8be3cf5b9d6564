using Sagas.Journal;

namespace Sagas.Runtime;

// Several nodes share a store. Each unfinished saga has an owner: the node that committed it last. It alone hears the timers of the saga; what else happens to
// it (a reply, a callback, an operator's request) may come to any node, which loads the saga, decides, and becomes its owner by its commit.
// Leases say who is alive, and so whose sagas are to be taken over. They are not what makes it safe: every commit is compared with the stored version and
// owner, and whoever lost a saga meanwhile (a node that was paused, two that decide at once) meets a conflict, looks again and lets go.

/// <summary>A store that several nodes share. Its nodes take over each other's sagas.</summary>
public interface ISharedSagaStore : ISagaStore
{
    /// <summary>This node's name.</summary>
    string Node { get; }

    /// <summary>Renews this node's lease, by the store's clock, and says which nodes there are, this one and those that are gone included.</summary>
    /// <exception cref="NodeNameTakenException">Another process is alive under this node's name.</exception>
    ValueTask<IReadOnlyList<NodeLease>> RenewAsync(CancellationToken cancel);

    /// <summary>Makes this node the owner of at most so many sagas of another and returns them; none are left when it returns none.</summary>
    ValueTask<IReadOnlyList<SagaState>> ClaimAsync(string node, int most, CancellationToken cancel);

    /// <summary>The unfinished sagas that this node owns, of those asked for.</summary>
    ValueTask<IReadOnlyList<SagaState>> OwnedAsync(Predicate<SagaId> which, CancellationToken cancel);

    /// <summary>How many unfinished sagas each of the nodes owns.</summary>
    ValueTask<IReadOnlyDictionary<string, long>> OwnersAsync(IReadOnlyList<string> nodes, CancellationToken cancel);

    /// <summary>Ends this node's lease: the others take over its sagas at once.</summary>
    ValueTask ReleaseAsync(CancellationToken cancel);

    /// <summary>Forgets a node that has been gone for a day.</summary>
    ValueTask ForgetAsync(NodeLease node, CancellationToken cancel);

    /// <summary>The saga as last committed and its owner, or null.</summary>
    ValueTask<OwnedSaga?> FindOwnedAsync(SagaId id, CancellationToken cancel);

    /// <summary>For how long a node keeps its sagas without renewing its lease.</summary>
    TimeSpan Lease { get; }

    /// <summary>Says who is to hear what other nodes do. Called once, before the store is opened.</summary>
    void Listen(INodeListener listener);

    /// <summary>For as long as a lease, has other nodes' commits of this saga told here; null: of all sagas.</summary>
    ValueTask WatchAsync(SagaId? saga, CancellationToken cancel);

    /// <summary>Asks these other nodes something. Returns what they answered once all have, or the patience is over.</summary>
    ValueTask<IReadOnlyList<ReadOnlyMemory<byte>>> AskAsync(IReadOnlyCollection<string> nodes, ReadOnlyMemory<byte> question, TimeSpan patience, CancellationToken cancel);
}

/// <summary>Hears what other nodes do. What it misses, it finds out by looking. Must not throw, nor wait.</summary>
public interface INodeListener
{
    /// <summary>Another node has committed this version of a saga that is watched here.</summary>
    void Heard(SagaState saga);

    /// <summary>Another node has taken over a saga of this one.</summary>
    void Taken(SagaId saga);

    /// <summary>A node came or went.</summary>
    void NodesChanged();

    /// <summary>A definition was added.</summary>
    void DefinitionsChanged();

    /// <summary>The store has lost its last writes: what this node knows may be ahead of what is stored.</summary>
    void WritesLost();

    /// <summary>Another node asks for numbers. This one's answer.</summary>
    ReadOnlyMemory<byte> Asked(ReadOnlyMemory<byte> question);
}

/// <summary>A node and its lease.</summary>
/// <param name="Id">Its name.</param>
/// <param name="StartedAt">When its process was started.</param>
/// <param name="HeartbeatAt">When it last renewed its lease.</param>
/// <param name="IsAlive">Whether its lease still runs.</param>
public sealed record NodeLease(string Id, DateTimeOffset StartedAt, DateTimeOffset HeartbeatAt, bool IsAlive);

/// <summary>A saga and the node that owns it.</summary>
/// <param name="Saga">As last committed.</param>
/// <param name="Owner">The node that commits it; null: it has ended.</param>
public sealed record OwnedSaga(SagaState Saga, string? Owner);

/// <summary>Two processes run under one node's name.</summary>
public sealed class NodeNameTakenException(string message) : Exception(message);

/// <summary>What a node does besides its sagas: it says that it lives, takes over what dead nodes left, and passes on what the others tell.</summary>
internal sealed class Nodes : INodeListener
{
    private const int ClaimAtOnce = 500;
    private static readonly TimeSpan LookAgain = TimeSpan.FromMinutes(1), Patience = TimeSpan.FromMilliseconds(500);
    private readonly ISharedSagaStore _store;
    private readonly EngineParts _engine;
    private readonly SagaFeed _feed;
    private readonly Waiters _waiters;
    private readonly Predicate<SagaId> _isInHand;
    private readonly Func<SagaState, CancellationToken, ValueTask<bool>> _adopt;
    private readonly Func<Mail, CancellationToken, ValueTask> _post;
    private readonly Func<CancellationToken, Task> _loadDefinitions;
    private readonly Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>> _answer;
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<string, (DateTimeOffset Heartbeat, DateTimeOffset LookedAt)> _emptied = [];
    private readonly List<SagaState> _homeless = [];
    private TaskCompletionSource _nudge;
    private Task _running = Task.CompletedTask;
    private DateTimeOffset _lookedAt;
    private volatile bool _reread, _redefine;
    private volatile string[] _others = [];

    /// <param name="store">The store that the nodes share.</param>
    /// <param name="engine">The engine.</param>
    /// <param name="feed">Who listens to sagas here.</param>
    /// <param name="waiters">Who waits for sagas here.</param>
    /// <param name="isInHand">Whether a worker holds the saga.</param>
    /// <param name="adopt">Goes on with a saga; false: its definition is not known here.</param>
    /// <param name="post">Puts mail into its saga's mailbox.</param>
    /// <param name="loadDefinitions">Takes in the definitions that the store keeps.</param>
    /// <param name="answer">Answers another node's question.</param>
    public Nodes(ISharedSagaStore store, EngineParts engine, SagaFeed feed, Waiters waiters, Predicate<SagaId> isInHand,
        Func<SagaState, CancellationToken, ValueTask<bool>> adopt, Func<Mail, CancellationToken, ValueTask> post, Func<CancellationToken, Task> loadDefinitions,
        Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>> answer)
    {
        (_store, _engine, _feed, _waiters, _isInHand, _adopt, _post, _loadDefinitions, _answer) = (store, engine, feed, waiters, isInHand, adopt, post, loadDefinitions, answer);
        _nudge = new TaskCompletionSource(engine.Time.Continuations());
        store.Listen(this);
        feed.Listening = saga => _ = WatchAsync(saga);
    }

    public void Start()
    {
        _lookedAt = _engine.Now;
        _running = _engine.Time.Run(RunAsync);
    }

    /// <summary>Says nothing to the others any more, who take over its sagas when the lease is over.</summary>
    public void Stop() => _stop.Cancel();

    /// <summary>Ends this node's life among the others, who take over its sagas at once.</summary>
    public async Task LeaveAsync()
    {
        await _engine.Time.CancelAsync(_stop).ConfigureAwait(false);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        try
        {
            await _store.ReleaseAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (StoreUnavailableException)
        {
            // Then the lease runs out by itself.
        }
    }

    public async ValueTask<IReadOnlyList<EngineNode>> ListAsync(CancellationToken cancel)
    {
        var nodes = await _store.RenewAsync(cancel).ConfigureAwait(false);
        var sagas = await _store.OwnersAsync([.. nodes.Select(static node => node.Id)], cancel).ConfigureAwait(false);
        // A dead node without sagas is of no interest to anybody.
        return [.. nodes.Where(node => node.IsAlive || sagas[node.Id] > 0).Select(node => new EngineNode(node.Id, node.StartedAt, node.HeartbeatAt, sagas[node.Id], node.IsAlive))];
    }

    /// <summary>What the other nodes answer, of those that do in time.</summary>
    public ValueTask<IReadOnlyList<ReadOnlyMemory<byte>>> AskAsync(ReadOnlyMemory<byte> question, CancellationToken cancel) =>
        _others is { Length: > 0 } others ? _store.AskAsync(others, question, Patience, cancel) : new([]);

    /// <summary>The saga; while it is another node's and unfinished, that node's commits are heard here from now on.</summary>
    public async ValueTask<SagaState?> FindWatchedAsync(SagaId id, CancellationToken cancel)
    {
        var found = await _store.FindOwnedAsync(id, cancel).ConfigureAwait(false);
        if (found is null or { Saga.Ended: true } || found.Owner == _store.Node) return found?.Saga;
        await _store.WatchAsync(id, cancel).ConfigureAwait(false);
        // Read again: it may have ended before it was watched.
        return (await _store.FindOwnedAsync(id, cancel).ConfigureAwait(false))?.Saga;
    }

    public void Heard(SagaState saga)
    {
        _feed.Heard(saga);
        if (saga.Ended) _waiters.Ended(saga);
    }

    public void Taken(SagaId saga) => _ = PostAsync(new TakenMail(saga));

    public void NodesChanged() => Nudge();

    public ReadOnlyMemory<byte> Asked(ReadOnlyMemory<byte> question) => _answer(question);

    public void DefinitionsChanged()
    {
        _redefine = true;
        Nudge();
    }

    public void WritesLost()
    {
        _reread = true;
        Nudge();
    }

    private void Nudge() => Volatile.Read(ref _nudge).TrySetResult();

    private async Task PostAsync(Mail mail)
    {
        try
        {
            await _post(mail, _stop.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or System.Threading.Channels.ChannelClosedException)
        {
            // This node stops: the saga is in other hands anyway.
        }
    }

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(_store.Lease / 5, _engine.Time);
        var tick = timer.WaitForNextTickAsync(_stop.Token).AsTask();
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await TurnAsync(_stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (StoreUnavailableException)
            {
                // The store's health says why. Its sagas rest with this node until its lease is over.
            }
            catch (NodeNameTakenException e)
            {
                _engine.Log.NodeNameTaken(e, _store.Node);
            }
            catch (Exception e)
            {
                _engine.Log.NodeTurnFailed(e, _store.Node);
            }
            var nudge = Volatile.Read(ref _nudge);
            if (await Task.WhenAny(tick, nudge.Task).ConfigureAwait(false) == tick)
            {
                if (tick.IsCanceled) return;
                tick = timer.WaitForNextTickAsync(_stop.Token).AsTask();
            }
            else Interlocked.CompareExchange(ref _nudge, new TaskCompletionSource(_engine.Time.Continuations()), nudge);
        }
    }

    private async Task TurnAsync(CancellationToken cancel)
    {
        var nodes = await _store.RenewAsync(cancel).ConfigureAwait(false);
        _others = [.. nodes.Where(node => node.IsAlive && node.Id != _store.Node).Select(static node => node.Id)];
        if (_redefine)
        {
            _redefine = false;
            await _loadDefinitions(cancel).ConfigureAwait(false);
        }
        if (_reread)
        {
            _reread = false;
            try
            {
                foreach (var saga in await _store.OwnedAsync(static _ => true, cancel).ConfigureAwait(false)) await AdoptAsync(saga, cancel).ConfigureAwait(false);
            }
            catch
            {
                _reread = true;
                throw;
            }
        }
        await FindStrayAsync(cancel).ConfigureAwait(false);
        foreach (var node in nodes)
        {
            if (node.IsAlive) _emptied.Remove(node.Id);
            else if (node.Id != _store.Node) await TakeOverAsync(node, cancel).ConfigureAwait(false);
        }
        await FindHomesAsync(cancel).ConfigureAwait(false);
        await KeepWatchAsync(cancel).ConfigureAwait(false);
    }

    private async Task TakeOverAsync(NodeLease node, CancellationToken cancel)
    {
        var now = _engine.Now;
        // Looked at again now and then: it may have been paused in the middle of a commit.
        if (_emptied.TryGetValue(node.Id, out var emptied) && emptied.Heartbeat == node.HeartbeatAt && now - emptied.LookedAt < LookAgain) return;
        var taken = 0;
        try
        {
            while (await _store.ClaimAsync(node.Id, ClaimAtOnce, cancel).ConfigureAwait(false) is { Count: > 0 } sagas)
            {
                taken += sagas.Count;
                foreach (var saga in sagas) await AdoptAsync(saga, cancel).ConfigureAwait(false);
            }
        }
        catch
        {
            // Some may be this node's by now without its knowing.
            _reread = true;
            throw;
        }
        if (taken > 0) _engine.Log.TookOver(_store.Node, taken, node.Id);
        _emptied[node.Id] = (node.HeartbeatAt, now);
        await _store.ForgetAsync(node, cancel).ConfigureAwait(false);
    }

    private async Task AdoptAsync(SagaState saga, CancellationToken cancel)
    {
        if (await _adopt(saga, cancel).ConfigureAwait(false)) return;
        _homeless.Add(saga);
        _redefine = true;
    }

    /// <summary>
    /// Sagas of this node that none of its workers holds: a request that was given up as lost, of this process or of one that had its name before, may have
    /// reached the store late.
    /// </summary>
    private async Task FindStrayAsync(CancellationToken cancel)
    {
        if (_engine.Now - _lookedAt < LookAgain) return;
        foreach (var saga in await _store.OwnedAsync(id => !_isInHand(id) && !_homeless.Exists(saga => saga.Id == id), cancel).ConfigureAwait(false))
            if (!_isInHand(saga.Id)) await AdoptAsync(saga, cancel).ConfigureAwait(false);
        _lookedAt = _engine.Now;
    }

    /// <summary>Sagas whose definition was not known here: it may be by now.</summary>
    private async Task FindHomesAsync(CancellationToken cancel)
    {
        foreach (var saga in _homeless.ToArray())
            if (_engine.DefinitionOf(saga) is not null && await _adopt(saga, cancel).ConfigureAwait(false)) _homeless.Remove(saga);
    }

    private async Task WatchAsync(SagaId? saga)
    {
        try
        {
            if (saga is { } id)
            {
                if (await FindWatchedAsync(id, _stop.Token).ConfigureAwait(false) is { } found) Heard(found);
            }
            else await _store.WatchAsync(null, _stop.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is StoreUnavailableException or OperationCanceledException)
        {
            // The next turn watches again.
        }
    }

    /// <summary>Watches expire; and what was not heard, because a message was lost, is seen here.</summary>
    private async Task KeepWatchAsync(CancellationToken cancel)
    {
        if (_feed.IsHeardByMany) await _store.WatchAsync(null, cancel).ConfigureAwait(false);
        foreach (var ids in _waiters.Sagas.Union(_feed.Sagas).Chunk(100))
            foreach (var saga in await Task.WhenAll(ids.Select(id => FindWatchedAsync(id, cancel).AsTask())).ConfigureAwait(false))
                if (saga is not null) Heard(saga);
    }
}

/// <summary>A node, as listed.</summary>
/// <param name="Id">Its name.</param>
/// <param name="StartedAt">When its process was started.</param>
/// <param name="HeartbeatAt">When it last said that it lives.</param>
/// <param name="Sagas">How many unfinished sagas it owns.</param>
/// <param name="IsAlive">Whether it lives; the sagas of a dead one are being taken over.</param>
public sealed record EngineNode(string Id, DateTimeOffset StartedAt, DateTimeOffset HeartbeatAt, long Sagas, bool IsAlive);

using System.Collections.Concurrent;
using System.Threading.Channels;

namespace Sagas.Runtime;

// From a worker's commit to those who watch:
//
//   commit -> (nobody listens: nothing) -> bounded queue -> pump -> each listener's own bounded buffer -> its reader
//
// A worker never waits and never calls a listener: what does not fit is left out, and each listener is told that it
// missed something, so that it can read the saga again. Only what is durable gets here.

/// <summary>Tells who listens what has become of sagas, after it is durable. Costs nothing while nobody does.</summary>
public sealed class SagaFeed
{
    private const int QueueSize = 16 * 1024;

    /// <summary>The most listeners at a time.</summary>
    public const int MaxListeners = 1000;

    private readonly Lock _lock = new();
    private readonly Channel<Change> _queue = Channel.CreateBounded<Change>(new BoundedChannelOptions(QueueSize) { SingleReader = true });
    private readonly ConcurrentDictionary<SagaId, FeedListener[]> _ofOne = new();
    private FeedListener[] _ofMany = [];
    private Task? _pump;
    private volatile int _count;
    private int _overflowed;

    /// <summary>Whether anybody listens.</summary>
    public bool IsHeard => _count > 0;

    /// <summary>How many listen.</summary>
    public int Listeners => _count;

    /// <summary>Listens to one saga: each version that becomes durable, the oldest first. Dispose it. Null: too many listen already.</summary>
    public FeedListener? Listen(SagaId saga)
    {
        var listener = new FeedListener(this, saga, (_, _) => true, FeedListener.OneSaga);
        lock (_lock)
        {
            if (!TryCount_NeedsLock()) return null;
            _ofOne[saga] = [.. _ofOne.GetValueOrDefault(saga, []), listener];
        }
        return listener;
    }

    /// <summary>Listens to all sagas that <paramref name="wanted"/> says yes to, given the version before (null: not known, or none) and the new one. Dispose it. Null: too many listen already.</summary>
    /// <param name="wanted">Called off the engine's workers; must not throw.</param>
    /// <param name="localOnly">Only what this node committed: for those who pass it on to other nodes.</param>
    public FeedListener? Listen(Func<SagaState?, SagaState, bool> wanted, bool localOnly = false)
    {
        ArgumentNullException.ThrowIfNull(wanted);
        var listener = new FeedListener(this, null, wanted, FeedListener.ManySagas) { LocalOnly = localOnly };
        lock (_lock)
        {
            if (!TryCount_NeedsLock()) return null;
            _ofMany = [.. _ofMany, listener];
        }
        return listener;
    }

    /// <summary>Another node has committed this version: those who listen here hear of it too.</summary>
    public void Heard(SagaState saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        Publish(new Change(null, saga, IsLocal: false));
    }

    /// <summary>This node has committed this version.</summary>
    internal void Committed(SagaState? before, SagaState saga) => Publish(new Change(before, saga, IsLocal: true));

    /// <summary>Nothing more is told.</summary>
    internal void Stop() => _queue.Writer.TryComplete();

    internal void Leave(FeedListener listener)
    {
        lock (_lock)
        {
            if (listener.Saga is not { } saga) _ofMany = [.. _ofMany.Where(other => other != listener)];
            else if (_ofOne.TryGetValue(saga, out var all))
            {
                if (all.Length == 1) _ofOne.TryRemove(saga, out _);
                else _ofOne[saga] = [.. all.Where(other => other != listener)];
            }
            _count--;
        }
    }

    private readonly record struct Change(SagaState? Before, SagaState Saga, bool IsLocal);

    private bool TryCount_NeedsLock()
    {
        if (_count >= MaxListeners) return false;
        _pump ??= Task.Run(PumpAsync);
        _count++;
        return true;
    }

    private void Publish(in Change change)
    {
        if (_count == 0) return;
        if (!_queue.Writer.TryWrite(change)) Volatile.Write(ref _overflowed, 1);
    }

    private async Task PumpAsync()
    {
        await foreach (var change in _queue.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            if (_ofOne.TryGetValue(change.Saga.Id, out var ofOne))
                foreach (var listener in ofOne) listener.Offer(change.Saga);
            foreach (var listener in Volatile.Read(ref _ofMany))
                if ((change.IsLocal || !listener.LocalOnly) && listener.Wants(change.Before, change.Saga)) listener.Offer(change.Saga);
            if (Volatile.Read(ref _overflowed) == 0 || Interlocked.Exchange(ref _overflowed, 0) == 0) continue;
            foreach (var listener in _ofOne.Values.SelectMany(all => all).Concat(Volatile.Read(ref _ofMany))) listener.Miss();
        }
    }
}

/// <summary>Listens to a <see cref="SagaFeed"/>, for one reader.</summary>
public sealed class FeedListener : IDisposable
{
    internal const int OneSaga = 64, ManySagas = 1000;

    private readonly SagaFeed _feed;
    private readonly int _size;
    private readonly Lock _lock = new();
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private List<SagaState> _waiting = [];
    private int _missed;
    private bool _left;

    internal FeedListener(SagaFeed feed, SagaId? saga, Func<SagaState?, SagaState, bool> wants, int size) => (_feed, Saga, Wants, _size) = (feed, saga, wants, size);

    internal SagaId? Saga { get; }
    internal Func<SagaState?, SagaState, bool> Wants { get; }
    internal bool LocalOnly { get; init; }

    /// <summary>Completes when there is something to take.</summary>
    public async Task WaitAsync(CancellationToken cancel = default) => await _signal.Reader.ReadAsync(cancel).ConfigureAwait(false);

    /// <summary>Takes what has come since the last time, in order. A slow reader finds a saga's newest version only.</summary>
    /// <param name="missed">How many changes did not fit and are lost for this reader: read again what is shown.</param>
    public IReadOnlyList<SagaState> Take(out int missed)
    {
        lock (_lock)
        {
            var taken = _waiting;
            (_waiting, missed, _missed) = ([], _missed, 0);
            return taken;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_left) return;
            _left = true;
        }
        _feed.Leave(this);
    }

    internal void Offer(SagaState saga)
    {
        lock (_lock)
        {
            if (_waiting.Count >= _size && _missed == 0) _waiting = [.. Newest(_waiting)];
            // Once full of different sagas it takes no more until it is read: sorting again at each change would be in vain.
            if (_waiting.Count >= _size) _missed++;
            else _waiting.Add(saga);
        }
        _signal.Writer.TryWrite(true);
    }

    internal void Miss()
    {
        lock (_lock) _missed++;
        _signal.Writer.TryWrite(true);
    }

    /// <summary>Each saga's newest version, in the order of these.</summary>
    internal static IEnumerable<SagaState> Newest(IReadOnlyList<SagaState> versions)
    {
        var newest = new Dictionary<SagaId, long>();
        foreach (var saga in versions) newest[saga.Id] = Math.Max(saga.Version, newest.GetValueOrDefault(saga.Id));
        return versions.Where(saga => newest[saga.Id] == saga.Version);
    }
}

using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>Who waits for which saga to end.</summary>
internal sealed class Waiters(TimeProvider time)
{
    private readonly TimeProvider _time = time;
    private readonly Lock _lock = new();
    private readonly Dictionary<SagaId, Wait> _waiting = [];

    /// <summary>A wait that completes when the saga ends; dispose it. Ask the store after calling this, not before: the end may have come between.</summary>
    public Wait For(SagaId id)
    {
        lock (_lock)
        {
            if (!_waiting.TryGetValue(id, out var wait)) _waiting[id] = wait = new Wait(this, id);
            wait.Sharers++;
            return wait;
        }
    }

    /// <summary>The sagas that somebody waits for.</summary>
    public IReadOnlyList<SagaId> Sagas
    {
        get { lock (_lock) return [.. _waiting.Keys]; }
    }

    public void Ended(SagaState saga)
    {
        Wait? wait;
        lock (_lock)
        {
            if (_waiting.Count == 0 || !_waiting.Remove(saga.Id, out wait)) return;
        }
        wait.Complete(saga);
    }

    public sealed class Wait(Waiters waiters, SagaId id) : IDisposable
    {
        private readonly TaskCompletionSource<SagaState> _end = new(waiters._time.Continuations());

        public int Sharers { get; set; }

        public Task<SagaState> End => _end.Task;

        public void Complete(SagaState saga) => _end.TrySetResult(saga);

        public void Dispose()
        {
            lock (waiters._lock)
                if (--Sharers == 0 && waiters._waiting.TryGetValue(id, out var mine) && ReferenceEquals(mine, this)) waiters._waiting.Remove(id);
        }
    }
}

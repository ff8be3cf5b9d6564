namespace Sagas.Tests;

/// <summary>A clock that stands still until it is told to go on; timers fire in order while it does.</summary>
internal sealed class ManualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _timers = [];
    private DateTimeOffset _now = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    /// <summary>What asking for the time throws; null: it is told.</summary>
    public Exception? Fault { get; set; }

    public override DateTimeOffset GetUtcNow()
    {
        if (Fault is { } fault) throw fault;
        lock (_lock) return _now;
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => GetUtcNow().UtcTicks;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, () => callback(state));
        timer.Change(dueTime, period);
        lock (_lock) _timers.Add(timer);
        return timer;
    }

    public void Advance(TimeSpan by)
    {
        var end = GetUtcNow() + by;
        while (true)
        {
            ManualTimer? next;
            lock (_lock)
            {
                next = _timers.Where(t => t.Due <= end).MinBy(t => t.Due);
                _now = next?.Due > _now ? next.Due!.Value : next is null ? end : _now;
                next?.Fired();
            }
            if (next is null) return;
            next.Call();
        }
    }

    /// <summary>Waits until somebody has set a timer for a time no further off than that, and goes on to it. Time stands still meanwhile, however long that takes.</summary>
    public async Task PassNextTimerAsync(TimeSpan within)
    {
        DateTimeOffset? next;
        while ((next = Next()) is null || next - GetUtcNow() > within) await Task.Yield();
        Advance(next.Value - GetUtcNow());

        DateTimeOffset? Next()
        {
            lock (_lock) return _timers.Min(timer => timer.Due);
        }
    }

    private sealed class ManualTimer(ManualTime time, Action call) : ITimer
    {
        private TimeSpan _period;

        public DateTimeOffset? Due { get; private set; }

        public void Call() => call();

        public void Fired() => Due = _period > TimeSpan.Zero ? Due + _period : null;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._lock)
            {
                _period = period;
                Due = dueTime < TimeSpan.Zero ? null : time._now + dueTime;
            }
            return true;
        }

        public void Dispose()
        {
            lock (time._lock)
            {
                Due = null;
                time._timers.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}

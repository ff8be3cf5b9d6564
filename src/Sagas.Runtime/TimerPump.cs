namespace Sagas.Runtime;

/// <summary>Due timers become mail. Holds only when to look at a saga again; what is due then, the saga's state says.</summary>
internal sealed class TimerPump : IDisposable
{
    private static readonly TimeSpan FullMailboxDelay = TimeSpan.FromMilliseconds(50);
    private readonly Lock _lock = new();
    private readonly PriorityQueue<(SagaId Saga, long At), long> _due = new();
    private readonly TimeProvider _time;
    private readonly Func<Mail, bool> _post;
    private readonly ITimer _timer;
    private long _armed = long.MaxValue;
    private bool _stopped;

    /// <param name="time">The clock.</param>
    /// <param name="post">Puts mail into the saga's mailbox; false: it is full.</param>
    public TimerPump(TimeProvider time, Func<Mail, bool> post)
    {
        (_time, _post) = (time, post);
        _timer = time.CreateTimer(_ => PumpOnce(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public void Schedule(SagaId saga, DateTimeOffset at)
    {
        lock (_lock)
        {
            _due.Enqueue((saga, at.UtcTicks), at.UtcTicks);
            if (at.UtcTicks < _armed) Arm_NeedsLock(at.UtcTicks);
        }
    }

    public void PumpOnce()
    {
        List<(SagaId Saga, long At)> due = [];
        var now = _time.GetUtcNow();
        lock (_lock)
        {
            _armed = long.MaxValue;
            while (_due.TryPeek(out _, out var at) && at <= now.UtcTicks) due.Add(_due.Dequeue());
        }
        var late = due.FindAll(call => !_post(new TimerMail(call.Saga, call.At)));
        lock (_lock)
        {
            foreach (var call in late) _due.Enqueue(call, (now + FullMailboxDelay).UtcTicks);
            if (_due.TryPeek(out _, out var next)) Arm_NeedsLock(next);
        }
    }

    public void Dispose()
    {
        lock (_lock) _stopped = true;
        _timer.Dispose();
    }

    private void Arm_NeedsLock(long ticks)
    {
        if (_stopped) return;
        _armed = ticks;
        // Timers round down to whole milliseconds: one more, so that what is due is due when the timer fires.
        var wait = TimeSpan.FromTicks(Math.Max(0, ticks - _time.GetUtcNow().UtcTicks)) + TimeSpan.FromMilliseconds(1);
        _timer.Change(wait < TimeSpan.FromDays(1) ? wait : TimeSpan.FromDays(1), Timeout.InfiniteTimeSpan);
    }
}

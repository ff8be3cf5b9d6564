using Sagas.Journal;

namespace Sagas.Testing.Simulator;

// Everything in a simulated world happens here, on one thread: work that production code would hand to the thread pool, timers, and messages on their
// way. What is ready at one moment runs in an order that the seed decides; when nothing is, time goes on to what comes next.

/// <summary>One thread, one clock, one order of events for each seed.</summary>
/// <param name="seed">Decides the order.</param>
/// <param name="isBusy">Whether somebody works outside, as a user's handler may on its own threads: time waits for that. Null: nobody may.</param>
internal sealed class Scheduler(int seed, Func<bool>? isBusy = null)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _news = new(0);
    private readonly Random _order = new(seed);
    private readonly List<(Process? Owner, Action Run)> _ready = [];
    private readonly PriorityQueue<Alarm, (long Ticks, long Number)> _alarms = new();
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private long _number;

    /// <summary>The world's time, which no process sees: each has a clock of its own.</summary>
    public DateTimeOffset Now { get; private set; } = new(2030, 6, 1, 12, 0, 0, TimeSpan.Zero);

    /// <summary>Pieces of work run so far.</summary>
    public long Steps { get; private set; }

    public void Post(Process? owner, Action run)
    {
        StayHere();
        lock (_gate)
        {
            if (owner is { Alive: false }) return;
            _ready.Add((owner, run));
        }
        if (isBusy is not null) _news.Release();
    }

    public Alarm After(Process? owner, TimeSpan delay, Action run)
    {
        var alarm = new Alarm(owner, run);
        Set(alarm, delay);
        return alarm;
    }

    public void Set(Alarm alarm, TimeSpan delay)
    {
        StayHere();
        lock (_gate)
        {
            alarm.Due = delay < TimeSpan.Zero ? null : (Now + delay).UtcTicks;
            alarm.Number = ++_number;
            if (alarm.Due is { } due && alarm.Owner is not { Alive: false }) _alarms.Enqueue(alarm, (due, alarm.Number));
        }
    }

    /// <summary>Runs until <paramref name="end"/>, or until there is nothing left to do.</summary>
    public void RunUntil(DateTimeOffset end)
    {
        while (RunReady() && Next() is { } next && next <= end.UtcTicks) Advance(next);
        if (Escaped is not null) throw new InvalidOperationException($"Work has left the simulator's thread: {Escaped}");
        if (Now < end) Now = end;
    }

    /// <summary>Runs what is ready now. Always true.</summary>
    public bool RunReady()
    {
        while (TryTake(out var owner, out var run) || WaitForOthers())
            if (run is not null) Run(owner, run);
        return true;
    }

    private bool TryTake(out Process? owner, out Action? run)
    {
        lock (_gate)
        {
            (owner, run) = (null, null);
            if (_ready.Count == 0) return false;
            var pick = _order.Next(_ready.Count);
            (owner, run) = _ready[pick];
            _ready[pick] = _ready[^1];
            _ready.RemoveAt(_ready.Count - 1);
            return true;
        }
    }

    /// <summary>Waits for news from outside; false: nobody is at work there.</summary>
    private bool WaitForOthers()
    {
        if (isBusy is null) return false;
        for (var until = Environment.TickCount64 + (long)Patience.TotalMilliseconds; isBusy();)
        {
            if (_news.Wait(5)) return true;
            if (Environment.TickCount64 > until)
                throw new SagaTestException($"A handler has not answered for {Patience.TotalSeconds:0} s of real time. Let it wait by the TimeProvider of the services, so that Advance can go on.");
        }
        lock (_gate) return _ready.Count > 0;
    }

    /// <summary>How many timers a process has set.</summary>
    public int Timers(Process owner)
    {
        lock (_gate) return _alarms.UnorderedItems.Count(item => item.Element.Owner == owner && item.Element.Due is not null && item.Element.Number == item.Priority.Number);
    }

    private void StayHere()
    {
        if (isBusy is null && Environment.CurrentManagedThreadId != _thread) Escaped ??= Environment.StackTrace;
    }

    /// <summary>Where something was first done on another thread, which makes a seed's run unlike the next; null: nowhere.</summary>
    public string? Escaped { get; private set; }

    private long? Next()
    {
        lock (_gate) return Next_NeedsLock();
    }

    private long? Next_NeedsLock()
    {
        while (_alarms.TryPeek(out var alarm, out var key))
        {
            if (alarm.Number == key.Number && alarm.Due is not null && alarm.Owner is not { Alive: false }) return key.Ticks;
            _alarms.Dequeue();
        }
        return null;
    }

    private void Advance(long ticks)
    {
        lock (_gate)
        {
            if (ticks > Now.UtcTicks) Now = new DateTimeOffset(ticks, TimeSpan.Zero);
            while (Next_NeedsLock() is { } due && due <= ticks)
            {
                var alarm = _alarms.Dequeue();
                alarm.Due = null;
                _ready.Add((alarm.Owner, alarm.Run));
            }
        }
    }

    private void Run(Process? owner, Action run)
    {
        if (owner is { Alive: false }) return;
        if (owner?.PausedUntil > Now)
        {
            After(owner, owner.PausedUntil - Now, run);
            return;
        }
        Steps++;
        run();
    }
}

/// <summary>Something to run at a time.</summary>
internal sealed class Alarm(Process? owner, Action run)
{
    public Process? Owner { get; } = owner;
    public Action Run { get; } = run;
    public long? Due { get; set; }
    public long Number { get; set; }
}

/// <summary>
/// One life of a simulated process: its clock, and everything it has still to run. When it is killed all of that is gone; what is running at that moment
/// finds every way to the world outside closed.
/// </summary>
internal sealed class Process(Scheduler scheduler, string name) : VirtualTime
{
    public string Name { get; } = name;
    public Scheduler Scheduler { get; } = scheduler;
    public bool Alive { get; private set; } = true;
    public DateTimeOffset PausedUntil { get; set; }

    /// <summary>By how much its clock is wrong.</summary>
    public TimeSpan Offset { get; set; }

    public void Kill() => Alive = false;

    public override DateTimeOffset GetUtcNow() => Scheduler.Now + Offset;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    // A clock that is set does not move this one.
    public override long GetTimestamp() => Scheduler.Now.UtcTicks;

    public override void Queue(Action work) => Scheduler.Post(this, work);

    /// <summary>Says whether a timer that is being set is lost; null: none is.</summary>
    public Func<bool>? Loses { get; init; }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        new VirtualTimer(this, callback, state, dueTime, period);
}

/// <summary>What a process's disk writes with: the process's clock, but each turn of the writer takes as long as the disk does.</summary>
internal sealed class DiskTime(Process process, Func<TimeSpan> latency) : VirtualTime
{
    public override DateTimeOffset GetUtcNow() => process.GetUtcNow();

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => process.GetTimestamp();

    public override void Queue(Action work) => process.Scheduler.After(process, latency(), work);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => process.CreateTimer(callback, state, dueTime, period);
}

internal sealed class VirtualTimer : ITimer
{
    private readonly Process _process;
    private readonly Scheduler _scheduler;
    private readonly Alarm _alarm;
    private TimeSpan _period;
    private bool _disposed;

    public VirtualTimer(Process process, TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        (_process, _scheduler) = (process, process.Scheduler);
        _alarm = new Alarm(process, () =>
        {
            if (_disposed) return;
            if (_period > TimeSpan.Zero) _scheduler.Set(_alarm!, _period);
            callback(state);
        });
        Change(dueTime, period);
    }

    public bool Change(TimeSpan dueTime, TimeSpan period)
    {
        if (_disposed) return false;
        _period = period;
        _scheduler.Set(_alarm, _process.Loses?.Invoke() == true ? Timeout.InfiniteTimeSpan : dueTime);
        return true;
    }

    public void Dispose()
    {
        _disposed = true;
        _alarm.Due = null;
    }

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }
}

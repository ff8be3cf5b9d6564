using System.Collections.Concurrent;

namespace Sagas.Participants;

internal readonly record struct StepKey(string Saga, string Step);

/// <summary>Rows that end with the process: fast, and right as long as the participant does not crash between a step's phases.</summary>
internal sealed class MemoryBarrier(TimeSpan retention, TimeProvider time) : IBarrierStore
{
    private readonly ConcurrentDictionary<StepKey, BarrierRow> _rows = new();
    private readonly Retired _retired = new(retention);

    internal int Count => _rows.Count;

    /// <summary>The rows, without those past their retention; what is written meanwhile may be among them.</summary>
    internal IEnumerable<BarrierRow> Rows
    {
        get
        {
            var oldest = time.GetUtcNow() - retention;
            return _rows.Select(r => r.Value).Where(row => !row.IsSettled || row.At > oldest);
        }
    }

    /// <summary>Takes rows read elsewhere, oldest first.</summary>
    internal void Load(IEnumerable<BarrierRow> rows)
    {
        foreach (var row in rows)
        {
            var key = new StepKey(row.Saga, row.Step);
            _rows[key] = row;
            if (row.IsSettled) _retired.Add(key, row.At);
        }
    }

    /// <summary>Takes a row back that could not be made durable.</summary>
    internal void Restore(BarrierRow failed, BarrierRow? before)
    {
        var key = new StepKey(failed.Saga, failed.Step);
        if (before is null) _rows.TryRemove(key, out _);
        else _rows[key] = before;
    }

    public ValueTask OpenAsync(CancellationToken cancel) => ValueTask.CompletedTask;

    public ValueTask<BarrierRow?> FindAsync(string saga, string step, CancellationToken cancel) => new(_rows.GetValueOrDefault(new StepKey(saga, step)));

    public ValueTask WriteAsync(BarrierRow row, CancellationToken cancel)
    {
        var key = new StepKey(row.Saga, row.Step);
        _rows[key] = row;
        if (row.IsSettled) _retired.Add(key, row.At);
        while (_retired.TryTakeDue(time.GetUtcNow(), out var due))
            if (_rows.TryGetValue(due.Key, out var old) && old.IsSettled && old.At == due.At)
                _rows.TryRemove(new KeyValuePair<StepKey, BarrierRow>(due.Key, old));
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>Settled rows in the order in which they were settled, so that forgetting the old ones never scans the others.</summary>
internal sealed class Retired(TimeSpan retention)
{
    private readonly ConcurrentQueue<(StepKey Key, DateTimeOffset At)> _queue = new();

    public void Add(StepKey key, DateTimeOffset at) => _queue.Enqueue((key, at));

    /// <summary>The next row whose time is over. Its caller checks that the row was not written again since.</summary>
    public bool TryTakeDue(DateTimeOffset now, out (StepKey Key, DateTimeOffset At) due)
    {
        if (_queue.TryPeek(out due) && now - due.At >= retention)
            lock (_queue)
                if (_queue.TryPeek(out due) && now - due.At >= retention)
                    return _queue.TryDequeue(out due);
        due = default;
        return false;
    }
}

using System.Collections.Concurrent;
using Sagas.Journal;

namespace Sagas.Runtime;

// An operation walks the listing from the newest saga to the oldest and asks each what an operator would ask it by hand:
//
//   save (it runs) -> page -> ask each, so many at a time -> save with the next page's cursor -> page ... -> save (done)
//
// What is saved names the page that it is at, so that a node that starts, or one that finds a running operation nobody
// has saved for a while, goes on there. A page that is asked a second time shows in the sagas' history.

/// <summary>Carries out operations.</summary>
internal sealed class Operations : IAsyncDisposable
{
    private const int Page = 100, AtOnce = 16, MostRunning = 32;
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(15), SilentFor = TimeSpan.FromSeconds(20), AskAgain = TimeSpan.FromMilliseconds(100);
    private readonly ConcurrentDictionary<string, Run> _running = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly SagaEngine _engine;
    private readonly EngineParts _parts;
    private readonly ITimer _look;
    private DateTimeOffset _lastId;

    public Operations(SagaEngine engine, EngineParts parts)
    {
        (_engine, _parts) = (engine, parts);
        _look = parts.Time.CreateTimer(_ => _ = LookAsync(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Takes up what another node, or this one before it was restarted, has left.</summary>
    public async Task OpenAsync()
    {
        await LookAsync().ConfigureAwait(false);
        _look.Change(LookEvery, LookEvery);
    }

    /// <summary>Begins one. Null: as many run as may.</summary>
    public async ValueTask<Operation?> StartAsync(OperationAction action, SagaFilter filter, string reason, string by, CancellationToken cancel)
    {
        if (_running.Count >= MostRunning || _stop.IsCancellationRequested) return null;
        var now = _parts.Now;
        // Sagas that start from now on are not meant; times are kept to the millisecond, and one that started in this one is.
        var limit = now.AddMilliseconds(1);
        var asked = filter.StartedBefore < limit ? filter : filter with { StartedBefore = limit };
        var matched = (await _engine.CountAsync(asked, cancel).ConfigureAwait(false)).Values.Sum();
        var operation = new Operation
        {
            Id = NewId(now), Version = 1, Action = action, Filter = asked, Reason = reason, By = by,
            Matched = matched, StartedAt = now, UpdatedAt = now, Node = _parts.Options.Node,
        };
        await _parts.Store.SaveOperationAsync(operation, cancel).ConfigureAwait(false);
        Begin(operation, resumed: false);
        return operation;
    }

    /// <summary>Sorts after every id before: two of one millisecond would not.</summary>
    private string NewId(DateTimeOffset now)
    {
        lock (_running)
        {
            _lastId = now > _lastId ? now : _lastId.AddMilliseconds(1);
            return Guid.CreateVersion7(_lastId).ToString("N");
        }
    }

    public async ValueTask<Operation?> FindAsync(string id, CancellationToken cancel) =>
        _running.TryGetValue(id, out var run) ? run.Now
        : (await _parts.Store.OperationsAsync(cancel).ConfigureAwait(false)).FirstOrDefault(operation => operation.Id == id);

    /// <summary>All that are kept, newest first.</summary>
    public async ValueTask<IReadOnlyList<Operation>> ListAsync(CancellationToken cancel) =>
        [.. (await _parts.Store.OperationsAsync(cancel).ConfigureAwait(false)).Select(operation => _running.TryGetValue(operation.Id, out var run) ? run.Now : operation)];

    /// <summary>Stops one. Gives it as it stands, ended by this or before it; null: there is none.</summary>
    public async ValueTask<(Operation? Operation, bool Stopped)> CancelAsync(string id, string reason, string by, CancellationToken cancel)
    {
        while (true)
        {
            if (_running.TryGetValue(id, out var run))
            {
                run.Stop(reason, by);
                await _parts.Time.Shared(run.Ended).WaitAsync(cancel).ConfigureAwait(false);
                if (run.Now.Status != OperationStatus.Running) return (run.Now, run.Now.Status == OperationStatus.Cancelled && run.StoppedBy == (reason, by));
            }
            if (await FindAsync(id, cancel).ConfigureAwait(false) is not { } kept) return (null, false);
            if (kept.Status != OperationStatus.Running) return (kept, false);
            // Another node carries it out: it sees this when it saves next.
            var stopped = Cancelled(kept, reason, by) with { Version = kept.Version + 1 };
            if (await _parts.Store.SaveOperationAsync(stopped, cancel).ConfigureAwait(false)) return (stopped, true);
        }
    }

    /// <summary>Asks for no more; does not wait for what is asked.</summary>
    public void Stop()
    {
        _look.Dispose();
        _stop.Cancel();
    }

    public async ValueTask DisposeAsync()
    {
        await _look.DisposeAsync().ConfigureAwait(false);
        await _parts.Time.CancelAsync(_stop).ConfigureAwait(false);
        await Task.WhenAll(_running.Values.Select(run => _parts.Time.Shared(run.Ended))).ConfigureAwait(false);
    }

    private async Task LookAsync()
    {
        try
        {
            foreach (var operation in await _parts.Store.OperationsAsync(_stop.Token).ConfigureAwait(false))
            {
                if (operation.Status != OperationStatus.Running || _running.ContainsKey(operation.Id)) continue;
                if (operation.Node is { } node && node != _parts.Options.Node && operation.UpdatedAt > _parts.Now - SilentFor) continue;
                var taken = operation with { Version = operation.Version + 1, Node = _parts.Options.Node, UpdatedAt = _parts.Now };
                if (!await _parts.Store.SaveOperationAsync(taken, _stop.Token).ConfigureAwait(false)) continue;
                _parts.Log.OperationResumed(taken.Id, taken.Action, taken.Done + taken.Failed);
                Begin(taken, resumed: true);
            }
        }
        catch (Exception) when (_stop.IsCancellationRequested)
        {
            // The node stops.
        }
        catch (Exception e)
        {
            _parts.Log.OperationsUnread(e);
        }
    }

    private void Begin(Operation operation, bool resumed)
    {
        var run = new Run(operation, _parts.Time.Continuations(), _stop.Token);
        if (!_running.TryAdd(operation.Id, run)) return;
        _ = _parts.Time.Run(async () =>
        {
            try
            {
                await CarryOutAsync(run, resumed).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // The node stops: the next one goes on.
            }
            catch (Exception e)
            {
                // Nobody saves it any more: it is taken up again after a while.
                _parts.Log.OperationFailed(e, operation.Id);
            }
            _running.TryRemove(operation.Id, out _);
            run.End();
        });
    }

    private async Task CarryOutAsync(Run run, bool resumed)
    {
        while (run.Now.Status == OperationStatus.Running)
        {
            var again = resumed;
            resumed = false;
            SagaPage page;
            try
            {
                page = await PatientlyAsync(() => _engine.ListAsync(run.Now.Filter, Page, run.Now.Cursor)).ConfigureAwait(false);
                await AskAllAsync(run, page.Items, again).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (run.Stopped.IsCancellationRequested)
            {
                if (run.StoppedBy is not { } who)
                {
                    await LeaveAsync(run).ConfigureAwait(false);
                    return;
                }
                await SaveAsync(run, now => Cancelled(now, who.Reason, who.By)).ConfigureAwait(false);
                return;
            }
            var at = _parts.Now;
            if (!await SaveAsync(run, now => page.Next is { } next ? now with { Cursor = next } : now with { Cursor = null, Status = OperationStatus.Done, FinishedAt = at, CancelledBy = null, CancelReason = null }).ConfigureAwait(false)) return;
        }
    }

    /// <summary>Asks each, so many at a time; whoever asks is set to work by the clock, which in a simulation is the only thread.</summary>
    private async Task AskAllAsync(Run run, IReadOnlyList<SagaState> sagas, bool again)
    {
        var asked = -1;
        await Task.WhenAll(Enumerable.Range(0, Math.Min(AtOnce, sagas.Count)).Select(_ => _parts.Time.Run(async () =>
        {
            try
            {
                while (!run.Stopped.IsCancellationRequested && Interlocked.Increment(ref asked) is var at && at < sagas.Count)
                    run.Count(sagas[at].Id, await AskAsync(run.Now, sagas[at], again).ConfigureAwait(false));
            }
            catch
            {
                // Nobody begins another.
                Volatile.Write(ref asked, sagas.Count);
                throw;
            }
        }))).ConfigureAwait(false);
        run.Stopped.ThrowIfCancellationRequested();
    }

    /// <summary>Asks one saga; null: it did it.</summary>
    private async ValueTask<string?> AskAsync(Operation operation, SagaState saga, bool again)
    {
        if (again && await WasAskedAsync(operation, saga).ConfigureAwait(false)) return null;
        SagaEvent request = operation.Action switch
        {
            OperationAction.Cancel => new SagaEvent.CancelRequested(operation.Reason, operation.By),
            OperationAction.Retry => new SagaEvent.RetryRequested(operation.Reason, operation.By),
            OperationAction.Pause => new SagaEvent.PauseRequested(operation.Reason, operation.By),
            OperationAction.Resume => new SagaEvent.ResumeRequested(operation.Reason, operation.By),
            _ => new SagaEvent.TerminateRequested(operation.Reason, operation.By),
        };
        while (true)
        {
            var result = await PatientlyAsync(() => _engine.RequestAsync(saga.Id, request)).ConfigureAwait(false);
            switch (result.Outcome)
            {
                case RequestOutcome.Accepted: return null;
                case RequestOutcome.Busy: await Task.Delay(AskAgain, _parts.Time, _stop.Token).ConfigureAwait(false); break;
                default: return result.Problem ?? $"Saga '{saga.Id}' is {result.Saga?.Status}: that cannot be done now.";
            }
        }
    }

    /// <summary>Whether the saga was asked before the page was left half done: its history says so.</summary>
    private async ValueTask<bool> WasAskedAsync(Operation operation, SagaState saga)
    {
        var word = operation.Action switch
        {
            OperationAction.Cancel => "cancel-requested",
            OperationAction.Retry => "retry-requested",
            OperationAction.Pause => "paused",
            OperationAction.Resume => "resumed",
            _ => "terminate-requested",
        };
        var history = await PatientlyAsync(() => _engine.HistoryAsync(saga.Id, Math.Max(0, saga.HistoryCount - 500), 1000)).ConfigureAwait(false);
        return history?.Any(entry => entry.Event == word && entry.By == operation.By && entry.Reason == operation.Reason && entry.Time >= operation.StartedAt) == true;
    }

    /// <summary>Waits for a store that does not answer: an operation does not end because of it.</summary>
    private async ValueTask<T> PatientlyAsync<T>(Func<ValueTask<T>> ask)
    {
        while (true)
        {
            _stop.Token.ThrowIfCancellationRequested();
            try
            {
                return await ask().ConfigureAwait(false);
            }
            catch (StoreUnavailableException)
            {
                await Task.Delay(EngineParts.StoreRetryDelay, _parts.Time, _stop.Token).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Saves the next version. False: another node has it now, or has stopped it, and nothing more is to be done here.</summary>
    private async ValueTask<bool> SaveAsync(Run run, Func<Operation, Operation> change)
    {
        var next = change(run.Now) with { Version = run.Now.Version + 1, UpdatedAt = _parts.Now };
        while (true)
        {
            try
            {
                if (!await PatientlyAsync(() => _parts.Store.SaveOperationAsync(next, CancellationToken.None)).ConfigureAwait(false)) break;
                run.Now = next;
                return true;
            }
            catch (ArgumentException) when (!next.Errors.IsEmpty)
            {
                // More than the store takes in one record: the operation must get on, and the first of its errors tell what is the matter.
                next = next with { Errors = next.Errors[..(next.Errors.Length / 2)] };
            }
        }
        var kept = (await PatientlyAsync(() => _parts.Store.OperationsAsync(CancellationToken.None)).ConfigureAwait(false)).FirstOrDefault(operation => operation.Id == next.Id);
        // What this node has done since the last save counts all the same.
        if (kept is { Status: OperationStatus.Cancelled } && kept.Node == _parts.Options.Node)
        {
            var whole = kept with { Version = kept.Version + 1, Done = next.Done, Failed = next.Failed, Errors = next.Errors };
            if (await PatientlyAsync(() => _parts.Store.SaveOperationAsync(whole, CancellationToken.None)).ConfigureAwait(false)) kept = whole;
        }
        if (kept is not null) run.Now = kept;
        return false;
    }

    /// <summary>The node stops: whoever sees it next takes it up at once, at the page that it is at.</summary>
    private async ValueTask LeaveAsync(Run run)
    {
        try
        {
            await _parts.Store.SaveOperationAsync(run.Saved with { Version = run.Saved.Version + 1, Node = null, UpdatedAt = _parts.Now }, CancellationToken.None).ConfigureAwait(false);
        }
        catch (StoreUnavailableException)
        {
            // It is taken up when it has been silent for long enough.
        }
    }

    private Operation Cancelled(Operation operation, string reason, string by) =>
        operation with { Status = OperationStatus.Cancelled, FinishedAt = _parts.Now, UpdatedAt = _parts.Now, CancelledBy = by, CancelReason = reason, Cursor = null };

    /// <summary>One that is under way here.</summary>
    private sealed class Run
    {
        private readonly Lock _lock = new();
        private readonly CancellationTokenSource _stop;
        private readonly TaskCompletionSource _ended;
        private Operation _now;

        public Run(Operation operation, TaskCreationOptions continuations, CancellationToken stop)
        {
            (_now, Saved, _ended) = (operation, operation, new TaskCompletionSource(continuations));
            _stop = CancellationTokenSource.CreateLinkedTokenSource(stop);
        }

        /// <summary>As last saved.</summary>
        public Operation Saved { get; private set; }

        /// <summary>With what has been done since.</summary>
        public Operation Now
        {
            get
            {
                lock (_lock) return _now;
            }
            set
            {
                lock (_lock) _now = Saved = value;
            }
        }

        public CancellationToken Stopped => _stop.Token;

        public (string Reason, string By)? StoppedBy { get; private set; }

        public Task Ended => _ended.Task;

        public void Count(SagaId saga, string? problem)
        {
            lock (_lock)
                _now = problem is null ? _now with { Done = _now.Done + 1 } : _now with
                {
                    Failed = _now.Failed + 1,
                    Errors = _now.Errors.Length < Operation.MaxErrors ? _now.Errors.Add(new OperationError(saga.Value, problem)) : _now.Errors,
                };
        }

        public void Stop(string reason, string by)
        {
            lock (_lock)
                if (StoppedBy is null)
                {
                    StoppedBy = (reason, by);
                    _now = _now with { CancelledBy = by, CancelReason = reason };
                }
            _stop.Cancel();
        }

        public void End() => _ended.TrySetResult();
    }
}

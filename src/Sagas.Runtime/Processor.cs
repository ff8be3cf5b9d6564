using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Threading.Channels;
using Sagas.Journal;

namespace Sagas.Runtime;

// One worker of a node. A saga is always handled by the same worker, so nothing here locks:
//
//   mailbox -> drain -> decide (each saga's mail in order) -> commit all in one call -> dispatch -> answer
//
// The order is the promise: no command leaves and no answer is given before the commit that names it is durable.
// While a commit is on its way to the disk the mailbox fills, and the next batch is larger; idle, a batch is one event.
// A reply that causes no command waits for its saga's next commit, or for the flush, whichever comes first.

/// <summary>Batch in, decide, commit, dispatch.</summary>
internal sealed class Processor
{
    private static readonly TimeSpan FlushTogether = TimeSpan.FromMilliseconds(10);
    private readonly EngineParts _engine;
    private readonly Channel<Mail> _mailbox;
    // Changed by this worker only; others may look while it works.
    private readonly ConcurrentDictionary<SagaId, Live> _live = new();
    private readonly List<Live> _batch = [];
    // This node's from now on, and met by a batch that may not be going on with them.
    private readonly List<RecoveredMail> _adopted = [];
    private readonly Queue<(Live Live, DateTimeOffset Until)> _lazy = [];
    private readonly ITimer _flush;
    private readonly Seldom _failed = new();
    private bool _flushSet;
    private volatile int _openSagas;

    public Processor(EngineParts engine)
    {
        _engine = engine;
        // Twice the size at which starts are refused: what is under way still finds room when new work does not.
        _mailbox = Channel.CreateBounded<Mail>(new BoundedChannelOptions(engine.Options.MailboxSize * 2)
        {
            SingleReader = true,
            AllowSynchronousContinuations = engine.Time is VirtualTime,
        });
        _flush = engine.Time.CreateTimer(_ => PostFlush(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>How many unfinished sagas this worker holds.</summary>
    public int OpenSagas => _openSagas;

    /// <summary>How much mail waits.</summary>
    public int MailboxDepth => _mailbox.Reader.Count;

    /// <summary>The unfinished sagas that this worker holds, each as it is durable. May be read by anybody at any time.</summary>
    public IEnumerable<SagaState> Sagas => _live.Select(static pair => pair.Value.Durable).OfType<SagaState>().Where(static saga => !saga.Ended);

    /// <summary>The saga as this worker holds it, durable; null: it does not.</summary>
    public SagaState? Find(SagaId id) => _live.TryGetValue(id, out var live) ? live.Durable : null;

    /// <summary>Takes a start, unless the mailbox is full.</summary>
    public bool TryStart(StartMail mail) =>
        _mailbox.Reader.Count < _engine.Options.MailboxSize && _openSagas < _engine.Options.MaxOpenSagas / _engine.Options.Workers && _mailbox.Writer.TryWrite(mail);

    public bool TryPost(Mail mail) => _mailbox.Writer.TryWrite(mail);

    /// <summary>Takes mail; waits while the mailbox is full, which holds up the bus and nobody else.</summary>
    public ValueTask PostAsync(Mail mail, CancellationToken cancel) => _mailbox.Writer.WriteAsync(mail, cancel);

    /// <summary>Runs until <see cref="Complete"/> was called and the mailbox is empty.</summary>
    public async Task RunAsync()
    {
        while (await _mailbox.Reader.WaitToReadAsync().ConfigureAwait(false)) await ProcessOnceAsync().ConfigureAwait(false);
        await ProcessOnceAsync(last: true).ConfigureAwait(false);
        await _flush.DisposeAsync().ConfigureAwait(false);
    }

    public void Complete() => _mailbox.Writer.TryComplete();

    public async Task ProcessOnceAsync(bool last = false)
    {
        var flush = last;
        for (var count = 0; count < _engine.Options.BatchSize && _mailbox.Reader.TryRead(out var mail); count++)
        {
            flush |= mail is FlushMail;
            if (mail is not FlushMail) await TakeAsync(mail).ConfigureAwait(false);
        }
        if (flush) Flush(all: last);
        await FinishAsync().ConfigureAwait(false);
        while (_adopted.Count > 0)
        {
            var adopted = _adopted.ToArray();
            _adopted.Clear();
            foreach (var mail in adopted)
            {
                if (_live.TryGetValue(mail.Id, out var live)) live.Doubtful = true;
                await TakeAsync(mail).ConfigureAwait(false);
            }
            await FinishAsync().ConfigureAwait(false);
        }
    }

    private async ValueTask TakeAsync(Mail mail)
    {
        if (await FindLiveAsync(mail).ConfigureAwait(false) is not { } live) return;
        Enter(live);
        live.Join(mail);
        Fold(live, mail);
        if (live is { TakenFrom: not null, Dirty: true }) live.Hurry();
    }

    /// <summary>Commits the batch and sends what it decided.</summary>
    private async Task FinishAsync()
    {
        do
        {
            while (_batch.Exists(static live => live.Urgent))
            {
                var (committed, again) = await CommitAsync().ConfigureAwait(false);
                foreach (var live in committed) Dispatch(live);
                foreach (var live in again) await DecideAgainAsync(live).ConfigureAwait(false);
            }
            if (_engine.Shared is null) break;
            foreach (var live in _batch.FindAll(static live => live.Unsure)) await MakeSureAsync(live).ConfigureAwait(false);
        }
        while (_batch.Exists(static live => live.Urgent));
        _openSagas = _live.Count;
        foreach (var live in _batch) Leave(live);
        _batch.Clear();
    }

    /// <summary>The saga that the mail is for, in this worker's hands; null when the mail is done with.</summary>
    private async ValueTask<Live?> FindLiveAsync(Mail mail)
    {
        _live.TryGetValue(mail.Id, out var live);
        if (mail is TimerMail { At: { } at } && live is not null)
        {
            // An earlier call was asked for since, and has come or will: each call asks for one more at most, and they must not grow in number.
            if (live.Alarm is { } alarm && alarm.UtcTicks != at) return null;
            live.Alarm = null;
        }
        if (live is { Doubtful: false })
        {
            if (mail is not (TakenMail or RecoveredMail)) return live;
            // What was decided in this batch goes to the store anyway, which has the last word. If it was nothing, the saga may be let go after the batch,
            // though it is this node's now: then it is taken up again.
            if (live.InBatch)
            {
                if (mail is RecoveredMail adopted) _adopted.Add(adopted);
                return null;
            }
            // What is known needs no look.
            if (mail is RecoveredMail { Saga.Version: var version } && live.Durable?.Version == version) return null;
        }
        switch (mail)
        {
            case StartMail start when live is null:
                return Begin(start);
            case RecoveredMail recovered when live is null:
                return _live[mail.Id] = Live.FromStore(recovered.Definition, recovered.Saga);
            case EventMail and not RequestMail when live is null && _engine.Shared is null:
                // Only unfinished sagas are in memory, and all of this node's are: the reply is late or for nobody.
                Telemetry.RepliesIgnored.Add(1);
                return null;
            case TimerMail or TakenMail when live is null:
                return null;
        }
        try
        {
            return await LoadAsync(mail).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            Unanswered(mail, Unread(mail.Id, e));
            if (live is not null) CallAt(live, _engine.Now + EngineParts.StoreRetryDelay);
            return null;
        }
    }

    private async ValueTask<Live?> LoadAsync(Mail mail)
    {
        var (stored, owner) = await _engine.LoadAsync(mail.Id).ConfigureAwait(false);
        _live.TryGetValue(mail.Id, out var live);
        // A start in doubt: what is stored, if anything is, may be another's.
        if (live is { Durable: null } && _live.TryRemove(mail.Id, out _)) live = null;
        // The timers of another node's saga are that node's; what came in for it is decided here, and makes it this node's.
        var isTheirs = owner is not null && mail is (TimerMail or TakenMail or RecoveredMail);
        if (stored is { Ended: false } && !isTheirs && (live is not null || _engine.DefinitionOf(stored) is not null))
        {
            live ??= _live[mail.Id] = Live.FromStore(_engine.DefinitionOf(stored)!, stored);
            live.Reset(stored, owner);
            live.Fresh = true;
            Enter(live);
            // Whatever was sent before the doubt may never have been: ask again. Another node's commands are out.
            if (owner is null && mail is not RecoveredMail) Fold(live, new RecoveredMail(stored, live.Definition));
            return live;
        }
        if (live is not null) LetGo(live, stored);
        switch (mail)
        {
            case StartMail start when stored is null: return Begin(start);
            case StartMail start: start.Reply(Existing(start, stored)); break;
            case RequestMail request: request.Reply(Missing(request, stored)); break;
            case EventMail: Telemetry.RepliesIgnored.Add(1); break;
        }
        return null;
    }

    /// <summary>It is another node's, or has ended there, or is gone.</summary>
    private void LetGo(Live live, SagaState? stored)
    {
        _live.TryRemove(live.State.Id, out _);
        if (stored is null && live.Durable is { } known) _engine.Log.SagaLost(known.Id, known.Definition, known.Version);
        live.Reset(stored ?? live.State);
    }

    private Live Begin(StartMail start)
    {
        var fresh = new SagaState
        {
            Id = start.Id, Definition = start.Definition.Name, DefinitionVersion = start.Definition.Version, Inline = start.Inline, Input = start.Request.Input,
            Tags = start.Request.Tags, Priority = start.Request.Priority, TraceParent = start.Request.TraceParent,
        };
        return _live[start.Id] = new Live(start.Definition, fresh) { Starter = start };
    }

    private void Enter(Live live)
    {
        if (live.InBatch) return;
        live.InBatch = true;
        _batch.Add(live);
    }

    private void Fold(Live live, Mail mail)
    {
        switch (mail)
        {
            case StartMail when live.Durable is null && live.State.Steps.IsEmpty:
                Decide(live, null);
                break;
            case RecoveredMail:
                Decide(live, new SagaEvent.Recovered());
                Arm(live);
                break;
            case RequestMail request:
                // A refusal may rest on what is decided and not durable yet: it is spoken when that is.
                request.Refused = Decide(live, request.Happened, awaited: true);
                if (live.Dirty) live.Hurry();
                break;
            case EventMail { Happened: var happened }:
                Decide(live, happened);
                break;
            case TimerMail:
                foreach (var due in Timers.Due(live.Definition, live.State, _engine.Now).ToArray()) Decide(live, due);
                Arm(live);
                break;
        }
    }

    /// <summary>Decides (null: the start) and keeps the decision, unless it breaks an invariant: then the saga is parked as it was, with a report, and the others go on.</summary>
    /// <returns>Why an operator's request is refused, or null.</returns>
    private string? Decide(Live live, SagaEvent? happened, bool awaited = false)
    {
        try
        {
            var before = live.State;
            var decision = happened is null
                ? Decider.Start(live.Definition, before, _engine.Now)
                : Decider.Decide(live.Definition, before, happened, _engine.Now);
            if (ReferenceEquals(decision.State, before)) return decision.Refused;
            if (Invariants.Check(live.Definition, decision.State) is { Count: > 0 } broken)
                throw new InvalidOperationException(string.Join(" ", broken));
            // Who waits to hear that it is kept waits for the commit.
            live.Apply(decision, urgent: awaited || decision.IsUrgent(before, happened));
            return null;
        }
        catch (Exception e)
        {
            Park(live, e);
            return null;
        }
    }

    private void Park(Live live, Exception why)
    {
        _engine.Log.Parked(why, live.State.Id, live.Definition.Name);
        Telemetry.Parked.Add(1);
        if (live.State.Steps.IsEmpty || live.State.Paused) return;
        var parked = Decider.Decide(live.Definition, live.State, new SagaEvent.PauseRequested($"Parked by the engine: {why.Message}", "engine"), _engine.Now);
        live.Apply(parked, urgent: true);
    }

    /// <summary>Sagas whose lazy replies have waited long enough, or will have in a moment, take part in the batch; younger ones may still ride on a commit of their own.</summary>
    private void Flush(bool all)
    {
        _flushSet = false;
        var until = _engine.Now + FlushTogether;
        while (_lazy.TryPeek(out var next) && (all || next.Until <= until))
        {
            _lazy.Dequeue();
            next.Live.IsLazy = false;
            if (!next.Live.Dirty) continue;
            Enter(next.Live);
            next.Live.Hurry();
        }
        SetFlush();
    }

    private async Task<(List<Live> Committed, List<Live> Again)> CommitAsync()
    {
        List<Live> urgent = _batch.FindAll(static live => live.Urgent), committed = [], again = [];
        try
        {
            Sort(urgent, await StoreAsync(urgent).ConfigureAwait(false), committed, again);
        }
        catch (StoreUnavailableException e)
        {
            if (_failed.Says(urgent.Count, _engine.Now, out var count)) _engine.Log.CommitFailed(e, count);
            foreach (var live in urgent) Doubt(live, e);
        }
        catch (Exception) when (urgent.Count > 1)
        {
            // One saga that the store cannot take must not hold up the others: each by itself, and nothing of the batch was written.
            foreach (var live in urgent) await CommitAloneAsync(live, committed, again).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            Refuse(urgent[0], e);
        }
        return (committed, again);
    }

    private async Task CommitAloneAsync(Live live, List<Live> committed, List<Live> again)
    {
        try
        {
            Sort([live], await StoreAsync([live]).ConfigureAwait(false), committed, again);
        }
        catch (Exception e)
        {
            Refuse(live, e);
        }
    }

    private ValueTask<ImmutableArray<CommitOutcome>> StoreAsync(List<Live> urgent)
    {
        Telemetry.StoreWrites.Add(1);
        return _engine.Store.CommitAsync(urgent.ConvertAll(static live => live.NextVersion()), CancellationToken.None);
    }

    private void Sort(List<Live> urgent, ImmutableArray<CommitOutcome> outcomes, List<Live> committed, List<Live> again)
    {
        for (var i = 0; i < urgent.Count; i++)
        {
            if (outcomes[i] == CommitOutcome.Committed)
            {
                urgent[i].Committed();
                committed.Add(urgent[i]);
            }
            else if (outcomes[i] == CommitOutcome.Conflict) again.Add(urgent[i]);
            else Doubt(urgent[i], new StoreUnavailableException(_engine.Store.Health.Detail ?? "The store could not say whether it happened. Look, and repeat."));
        }
        Telemetry.Commits.Add(committed.Count);
    }

    private void Refuse(Live live, Exception why)
    {
        _engine.Log.Unstorable(why, live.State.Id, live.Definition.Name);
        Doubt(live, why as StoreUnavailableException ?? new StoreUnavailableException($"Saga '{live.State.Id}' cannot be stored: {why.Message}", why));
    }

    private void Dispatch(Live live)
    {
        var saga = live.State;
        foreach (var effect in live.Effects)
            if (effect is Effect.Send send) _engine.Outbox.Send(saga, send);
        var (before, commit) = live.Last;
        live.Dispatched();
        if (saga.Status == SagaStatus.Stuck && !live.KnownStuck) ReportStuck(live);
        live.KnownStuck = saga.Status == SagaStatus.Stuck;
        // Those who watch look an ended saga up here until they have heard of its end.
        _engine.Committed(before, commit!);
        if (saga.Ended) _live.TryRemove(saga.Id, out _);
        else Arm(live);
    }

    private void ReportStuck(Live live)
    {
        for (var i = 0; i < live.State.Steps.Length; i++)
            if (live.State.Steps[i] is { Stuck: true, Error: var error })
                _engine.Log.SagaStuck(live.State.Id, live.Definition.Name, live.Definition.Steps[i].Name, error?.Message ?? "no answer");
    }

    /// <summary>Another node, or an earlier life of this one, has written: what was decided is void, and is decided again on what the store has.</summary>
    private async Task DecideAgainAsync(Live live)
    {
        Telemetry.Conflicts.Add(1);
        if (live.Durable is { } durable) live.Reset(durable);
        live.Doubtful = true;
        var mail = live.Batch.ToArray();
        live.LeaveBatch();
        _batch.Remove(live);
        foreach (var one in mail) await TakeAsync(one is TimerMail ? new TimerMail(one.Id) : one).ConfigureAwait(false);
        // Lazy replies of earlier batches were flushed: they are lost, and their steps are to be asked again.
        if (mail.Length == 0) await TakeAsync(new TimerMail(live.State.Id)).ConfigureAwait(false);
    }

    /// <summary>Another node may have written: if it has, what was said of the saga is void.</summary>
    private async Task MakeSureAsync(Live live)
    {
        try
        {
            var (stored, _) = await _engine.LoadAsync(live.State.Id).ConfigureAwait(false);
            live.Fresh = true;
            if (stored?.Version != live.Durable!.Version) await DecideAgainAsync(live).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            Doubt(live, Unread(live.State.Id, e));
        }
    }

    /// <summary>Whatever a store throws concerns the saga that was asked for: the others go on.</summary>
    private StoreUnavailableException Unread(SagaId id, Exception why)
    {
        if (why is StoreUnavailableException unavailable) return unavailable;
        _engine.Log.Unreadable(why, id);
        return new StoreUnavailableException($"Saga '{id}' cannot be read: {why.Message}", why);
    }

    private void Doubt(Live live, StoreUnavailableException why)
    {
        foreach (var mail in live.Batch) Unanswered(mail, why);
        // A start, too, may have been stored, and then it is this node's to go on with, whether it is repeated or not.
        if (live.Durable is { } durable) live.Reset(durable);
        live.Doubtful = true;
        CallAt(live, _engine.Now + EngineParts.StoreRetryDelay);
        live.LeaveBatch();
        _batch.Remove(live);
    }

    private void Leave(Live live)
    {
        foreach (var mail in live.Batch)
        {
            if (mail is StartMail start) start.Reply(Started(live, start));
            else if (mail is RequestMail request)
                request.Reply(request.Refused is { } refused
                    ? new RequestResult(RequestOutcome.WrongState, live.Durable, refused)
                    : new RequestResult(RequestOutcome.Accepted, live.Durable));
        }
        if (live.TakenFrom is not null) LetGo(live, live.Durable);
        else if (live is { Dirty: true, IsLazy: false }) Wait(live);
        live.LeaveBatch();
    }

    private void Wait(Live live)
    {
        live.IsLazy = true;
        _lazy.Enqueue((live, _engine.Now + _engine.Options.LazyFlush));
        SetFlush();
    }

    /// <summary>On the timer's thread. A full mailbox is no reason to forget the flush.</summary>
    private void PostFlush()
    {
        if (!_mailbox.Writer.TryWrite(new FlushMail())) _flush.Change(FlushTogether, Timeout.InfiniteTimeSpan);
    }

    private void SetFlush()
    {
        if (_flushSet || !_lazy.TryPeek(out var next)) return;
        _flushSet = true;
        var wait = next.Until - _engine.Now;
        _flush.Change(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Sees to it that the timer pump calls when the saga's next time comes.</summary>
    private void Arm(Live live)
    {
        if (Timers.Next(live.State) is { } next) CallAt(live, next);
    }

    /// <summary>Has the timer pump call then, unless it does before: an earlier call than needed only asks again.</summary>
    private void CallAt(Live live, DateTimeOffset at)
    {
        if (at >= live.Alarm) return;
        live.Alarm = at;
        _engine.Pump.Schedule(live.State.Id, at);
    }

    private static StartResult Started(Live live, StartMail start) =>
        ReferenceEquals(live.Starter, start)
            ? new StartResult(StartOutcome.Started, live.Durable)
            : Existing(start, live.Durable!);

    private static StartResult Existing(StartMail start, SagaState stored) =>
        stored.Definition == start.Definition.Name && stored.Inline?.Fingerprint == start.Inline?.Fingerprint && stored.Input.Equals(start.Request.Input)
            ? new StartResult(StartOutcome.Exists, stored)
            : new StartResult(StartOutcome.Differs, stored, stored.Inline?.Fingerprint != start.Inline?.Fingerprint
                ? $"Saga '{stored.Id}' was started with {(stored.Inline is null ? "a definition that is loaded" : start.Inline is null ? "a definition of its own" : "another definition of its own")}. Use another id, or send the same."
                : stored.Definition != start.Definition.Name
                ? $"Saga '{stored.Id}' is one of '{stored.Definition}', not of '{start.Definition.Name}'. Use another id."
                : $"Saga '{stored.Id}' was started with another input. Use another id, or send the same input.");

    private RequestResult Missing(RequestMail request, SagaState? stored)
    {
        if (stored is null) return new RequestResult(RequestOutcome.NotFound, null, $"There is no saga '{request.Id}'.");
        if (_engine.DefinitionOf(stored) is not { } definition)
            return new RequestResult(RequestOutcome.WrongState, stored, $"Saga '{request.Id}' is one of '{stored.Definition}' v{stored.DefinitionVersion}, which this node does not have. Load that version.");
        return new RequestResult(RequestOutcome.WrongState, stored, Decider.Decide(definition, stored, request.Happened, _engine.Now).Refused);
    }

    private static void Unanswered(Mail mail, StoreUnavailableException why)
    {
        if (mail is StartMail start) start.Fail(why);
        else if (mail is RequestMail request) request.Fail(why);
    }
}

using System.Collections.Concurrent;
using System.Collections.Frozen;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.Journal;

namespace Sagas.Participants;

/// <summary>
/// Runs the participants of this process. A transport hands in envelopes (<see cref="AcceptAsync"/>) and says how replies travel; each item takes its turn,
/// passes the barrier, and its reply leaves in the next envelope to the queue that the command named.
/// </summary>
public sealed class ParticipantHost : IHostedLifecycleService, IAsyncDisposable, IDisposable
{
    // How long a handler may take whose item states no deadline, or one that has passed already (late mail, or clocks that differ).
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    // RabbitMQ closes the channel of a consumer that holds a message for half an hour.
    private static readonly TimeSpan LongestHold = TimeSpan.FromMinutes(10);

    private readonly FrozenDictionary<string, Participant> _participants;
    private readonly IBarrierStore _store;
    private readonly Barrier _barrier;
    private readonly Turns _turns = new();
    private readonly ConcurrentDictionary<(string ReplyTo, SendReplies Send), ReplyOutbox> _outboxes = new();
    private readonly TaskCompletionSource _opened;
    private readonly CancellationTokenSource _stop = new(), _closed = new();
    private readonly TimeProvider _time;
    private readonly ILogger<ParticipantHost> _logger;
    private int _disposed;

    internal ParticipantHost(ParticipantRegistry registry, IServiceProvider services, ILogger<ParticipantHost> logger)
    {
        _logger = logger;
        _time = ParticipantsBuilder.Time(services);
        _opened = new TaskCompletionSource(_time.Continuations());
        _store = registry.Barrier?.Invoke(services) ?? new MemoryBarrier(registry.Retention, _time);
        _barrier = new Barrier(_store, _time);
        _participants = registry.Names.ToFrozenDictionary(name => name,
            name => new Participant(name, registry.Bind(name, services), new Lane(registry.Concurrency, HandleItemAsync, _time)), StringComparer.Ordinal);
        if (services.GetService<DurableSagas>() is { } durable && _store is MemoryBarrier) Log.ForgetfulBarrier(_logger, durable.Store);
    }

    /// <summary>The names of this process's participants.</summary>
    public IReadOnlyCollection<string> Participants => _participants.Keys;

    /// <summary>How many items are being handled.</summary>
    internal int Running => _participants.Values.Sum(static participant => participant.Lane.Running);

    /// <summary>How long a stopping host waits for what runs. Default 10 s.</summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Takes an envelope. Returns once its items wait their turn, not when they are handled; waits while the participant is full or not yet started. After the
    /// host has stopped, envelopes are dropped: the engine asks again.
    /// </summary>
    /// <param name="participant">For whom it is.</param>
    /// <param name="batch">The commands.</param>
    /// <param name="send">How replies travel. Pass the same delegate each time: replies are gathered by it and by queue.</param>
    /// <param name="cancel">Ends the waiting; nothing was taken then.</param>
    /// <exception cref="ArgumentException">No such participant here.</exception>
    public async ValueTask AcceptAsync(string participant, CommandBatch batch, SendReplies send, CancellationToken cancel = default)
    {
        var addressed = Addressed(participant);
        if (!_opened.Task.IsCompletedSuccessfully) await _time.Shared(_opened.Task).WaitAsync(cancel);
        await addressed.Lane.AcceptAsync(batch.Items, addressed, send, cancel);
    }

    /// <summary>
    /// Takes an envelope as <see cref="AcceptAsync"/> does, and returns when all its items are answered and their replies sent, so that a bus which delivers
    /// again what nobody acknowledged may be told. Items whose deadline has passed (without one: after 10 s; at most 10 minutes) are waited for no longer.
    /// </summary>
    /// <param name="participant">For whom it is.</param>
    /// <param name="batch">The commands.</param>
    /// <param name="send">How replies travel. Pass the same delegate each time: replies are gathered by it and by queue.</param>
    /// <param name="cancel">Ends the waiting.</param>
    /// <exception cref="ArgumentException">No such participant here.</exception>
    /// <exception cref="InvalidOperationException">An item was given up unanswered: deliver the envelope again, here or to another process.</exception>
    public async ValueTask HandleAsync(string participant, CommandBatch batch, SendReplies send, CancellationToken cancel = default)
    {
        var addressed = Addressed(participant);
        if (batch.Items.Count == 0) return;
        if (!_opened.Task.IsCompletedSuccessfully) await _time.Shared(_opened.Task).WaitAsync(cancel);
        var receipt = new Receipt(batch.Items.Count);
        await addressed.Lane.AcceptAsync(batch.Items, addressed, send, cancel, receipt: receipt);
        if (receipt.Settled.IsCompletedSuccessfully) return;
        var patience = batch.Items.Max(Remaining);
        try
        {
            await receipt.Settled.WaitAsync(patience < LongestHold ? patience : LongestHold, _time, cancel);
        }
        catch (TimeoutException)
        {
            // The engine has stopped waiting for these attempts too, and asks again.
        }
    }

    private Participant Addressed(string participant) => _participants.TryGetValue(participant, out var addressed)
        ? addressed
        : throw new ArgumentException($"There is no participant '{participant}' in this process. Add it with AddSagaParticipants(p => p.Add<Handler>(\"{participant}\")).", nameof(participant));

    internal Participant Find(string participant) => _participants[participant];

    /// <summary>Hands in one item and waits for its reply.</summary>
    /// <exception cref="OperationCanceledException">Nobody waits any more, or the host stops: what became of the item is unknown.</exception>
    internal async Task<ReplyItem> AskAsync(Participant participant, CommandItem item, CancellationToken gone)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(gone, _closed.Token);
        if (!_opened.Task.IsCompletedSuccessfully) await _opened.Task.WaitAsync(either.Token);
        var asker = new Asker(gone);
        await participant.Lane.AcceptAsync([item], participant, null, either.Token, asker);
        return await asker.Reply.Task.WaitAsync(either.Token);
    }

    /// <summary>Opens the barrier, before anything else of the host starts.</summary>
    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        if (_opened.Task.IsCompleted) return;
        await _store.OpenAsync(cancellationToken);
        foreach (var participant in _participants.Values)
            Log.Participates(_logger, participant.Name, string.Join(", ", participant.Handlers.Keys));
        _opened.TrySetResult();
    }

    /// <summary>Opens the barrier unless it is open.</summary>
    public Task StartAsync(CancellationToken cancellationToken) => StartingAsync(cancellationToken);

    /// <summary>Does nothing.</summary>
    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Begins nothing more, lets end what runs, sends its replies: before anything else of the host stops, so that the bus is still there.</summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(DrainTimeout);
        try
        {
            await Task.WhenAll(_participants.Values.Select(p => p.Lane.CloseAsync())).WaitAsync(patience.Token);
            await Task.WhenAll(_outboxes.Values.Select(o => o.FlushAsync())).WaitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            Log.StoppedHalfway(_logger, _participants.Values.Sum(p => p.Lane.Running));
        }
        await _closed.CancelAsync();
    }

    /// <summary>Stops as <see cref="StoppingAsync"/> does.</summary>
    public Task StopAsync(CancellationToken cancellationToken) => StoppingAsync(cancellationToken);

    /// <summary>Does nothing.</summary>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Closes the barrier.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        await _stop.CancelAsync();
        await _store.DisposeAsync();
    }

    /// <summary>Closes the barrier, for containers that are not disposed asynchronously.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <summary>One item from its turn to its reply. Never throws.</summary>
    private ValueTask HandleItemAsync(Work work)
    {
        var item = work.Item;
        if (work.Asker is { Gone.IsCancellationRequested: true }) return ValueTask.CompletedTask;   // not begun, and nobody would hear
        if (!work.Participant.Handlers.TryGetValue(item.Command, out var handler) || !handler.Takes(item.Phase))
        {
            Answer(work, Unknown(work));
            return ValueTask.CompletedTask;
        }
        Turn? turn = null;
        if (item.Phase != Phase.Check && (turn = _turns.TryEnter(work)) is null) return ValueTask.CompletedTask;
        return RunAsync(work, handler, turn);
    }

    private async ValueTask RunAsync(Work work, CommandHandler handler, Turn? turn)
    {
        var item = work.Item;
        var started = Telemetry.Now;
        var activity = Telemetry.Start(work.Participant.Name, item);
        using var scope = Log.Item(_logger, item.Saga, item.Step, item.Phase);
        using var deadline = new CancellationTokenSource();
        ReplyItem reply;
        try
        {
            var replying = _barrier.HandleAsync(item, handler, work.Participant.Handlers, deadline.Token);
            // A timer only for those who wait: most handlers have answered by now.
            if (replying.IsCompleted)
                reply = await replying;
            else
            {
                var overdue = new Overdue(work, _logger);
                await using (deadline.Token.UnsafeRegister(static overdue => ((Overdue)overdue!).Begin(), overdue))
                // Who waits goes when the time is over; an item that nobody waits for says itself when that is.
                await using (_time.CreateTimer(static source => ((CancellationTokenSource)source!).Cancel(), deadline, work.Asker is null ? Remaining(item) : Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan))
                using (work.Asker?.Gone.UnsafeRegister(static deadline => ((CancellationTokenSource)deadline!).Cancel(), deadline))
                    reply = await replying;
                overdue.End();
            }
        }
        catch (Exception e)
        {
            reply = item.Error(e.GetType().Name, e.Message);   // the barrier's store failed: what became of the item is unknown
        }
        Telemetry.Answered(work.Participant.Name, reply, started, activity);
        Answer(work, reply);
        if (turn is null || _turns.Leave(turn) is not { } waiting) return;
        foreach (var next in waiting)
            if (next.Item.Phase == item.Phase && next.Item.Payload.IsNull == item.Payload.IsNull) Answer(next, reply with { Attempt = next.Item.Attempt });
            else next.Participant.Lane.Again(next);
    }

    private void Answer(in Work work, ReplyItem reply)
    {
        // A warning once; that it fails again and again shows in the saga, and when it is given up or stuck.
        if (reply.Outcome == Outcome.Error) Log.Failed(_logger, reply.Attempt == 1 ? LogLevel.Warning : LogLevel.Information, reply.Saga, reply.Step, reply.Phase.Word(), reply.Attempt, reply.Code, reply.Message);
        else if (reply.Outcome == Outcome.Refused && _logger.IsEnabled(LogLevel.Debug)) Log.Refused(_logger, reply.Saga, reply.Step, reply.Phase.Word(), reply.Code, reply.Message);
        if (work.Asker is { } asker)
        {
            asker.Reply.TrySetResult(reply);
            return;
        }
        var key = (work.Item.ReplyTo, work.Send!);
        if (!_outboxes.TryGetValue(key, out var outbox))
            outbox = _outboxes.GetOrAdd(key, static (k, host) => new ReplyOutbox(k.ReplyTo, k.Send, host._time, host._logger, host._stop.Token), this);
        outbox.Add(reply, work.Receipt);
    }

    private TimeSpan Remaining(CommandItem item) =>
        item.Deadline - _time.GetUtcNow() is { Ticks: > 0 } left && left.TotalMilliseconds < int.MaxValue ? left : Patience;

    /// <summary>An item whose handler goes on after its deadline.</summary>
    private sealed class Overdue(Work work, ILogger logger)
    {
        private bool _lent;

        public void Begin()
        {
            Log.Overdue(logger, work.Item.Saga, work.Item.Step, work.Item.Phase.Word(), work.Item.Attempt);
            work.Participant.Lane.Lend();
            _lent = true;
        }

        public void End()
        {
            if (_lent) work.Participant.Lane.Return();
        }
    }

    private static ReplyItem Unknown(in Work work)
    {
        var (item, participant) = (work.Item, work.Participant);
        return item.Error("unknown-command", participant.Handlers.ContainsKey(item.Command)
            ? $"Participant '{participant.Name}' does not take command '{item.Command}' in phase {item.Phase.Word()}. Handle it with {(item.Phase is Phase.Try or Phase.Confirm or Phase.Cancel ? "an ITccHandler" : "an IStepHandler")}, or draw the step as the other kind."
            : $"Participant '{participant.Name}' handles no command '{item.Command}' for step '{item.Step}'; it takes {string.Join(", ", participant.Handlers.Keys)}. Add a handler for it, or send the step .To another participant.");
    }
}

/// <summary>A participant of this process.</summary>
internal sealed class Participant(string name, Dictionary<string, CommandHandler> handlers, Lane lane)
{
    public string Name { get; } = name;
    public Dictionary<string, CommandHandler> Handlers { get; } = handlers;
    public Lane Lane { get; } = lane;
}

using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Sagas.Journal;

namespace Sagas.Runtime;

// Smart batching: one send in flight per destination, and what arrives meanwhile goes into the next envelope. Idle, a
// command leaves at once and alone; under load envelopes grow by themselves. Nothing here is durable and nothing need
// be: a command lost on the way is named by its saga's state, with the time at which it is asked again.

/// <summary>Sends committed commands, one lane per destination.</summary>
internal sealed class Outbox(ITransport transport, HttpTransport http, TimeProvider time, ILogger log)
{
    private const int MaxItems = 256;
    private const int MaxBytes = 256 * 1024;
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(100), LastRetry = TimeSpan.FromSeconds(5);
    private readonly ConcurrentDictionary<string, Lane> _lanes = new();
    private readonly CancellationTokenSource _stop = new();

    /// <summary>How many commands wait for each destination.</summary>
    public IEnumerable<(string Destination, int Depth)> Depths => _lanes.Select(static lane => (lane.Key, lane.Value.Depth)).Concat(http.Depths);

    public void Send(SagaState saga, Effect.Send send)
    {
        if (send.Endpoint is HttpEndpoint to)
        {
            http.Send(saga, send, to.Url);
            Telemetry.CommandsSent.Add(1);
            return;
        }
        if (send.Endpoint is not BusEndpoint bus)
            throw new NotSupportedException($"Step '{send.Step}' of saga '{saga.Id}' goes to {send.Endpoint}, which no transport of this engine reaches.");
        var item = new CommandItem(saga.Id.Value, send.Step, send.Phase, send.Attempt, bus.Command, Wire.Key(saga.Id.Value, send.Step, send.Phase),
            send.Payload, send.Deadline, transport.ReplyTo, saga.TraceParent);
        _lanes.GetOrAdd(bus.Participant, static (name, outbox) => new Lane(outbox, name), this).Add(item, saga.Priority);
        Telemetry.CommandsSent.Add(1);
    }

    /// <summary>Returns when everything waiting has left, or when <paramref name="patience"/> is over.</summary>
    public async Task DrainAsync(TimeSpan patience)
    {
        http.Stop();
        var all = Task.WhenAll(_lanes.Values.Select(lane => lane.Idle));
        await Task.WhenAny(all, Task.Delay(patience, time)).ConfigureAwait(false);
        await time.CancelAsync(_stop).ConfigureAwait(false);
    }

    /// <summary>The commands for one destination: those of the highest priority first, and among equals in the order in which they were committed.</summary>
    private sealed class Lane(Outbox outbox, string participant)
    {
        private readonly Lock _lock = new();
        private readonly PriorityQueue<CommandItem, (int Rank, long Number)> _waiting = new();
        private readonly LaneLimit _limit = new(participant, outbox.Log);
        private long _number;
        private Task _sending = Task.CompletedTask;
        private bool _busy;

        public int Depth
        {
            get { lock (_lock) return _waiting.Count; }
        }

        public Task Idle
        {
            get { lock (_lock) return _sending; }
        }

        public void Add(CommandItem item, int priority)
        {
            lock (_lock)
            {
                if (!_limit.HasRoom(_waiting.Count)) return;
                _waiting.Enqueue(item, (9 - priority, _number++));
                if (_busy) return;
                _busy = true;
                _sending = outbox.Run(SendAllAsync);
            }
        }

        private async Task SendAllAsync()
        {
            while (Next() is { } envelope) await SendAsync(envelope).ConfigureAwait(false);
        }

        private CommandBatch? Next()
        {
            lock (_lock)
            {
                var items = new List<CommandItem>(Math.Min(_waiting.Count, MaxItems));
                var (bytes, priority) = (0, 5);
                while (items.Count < MaxItems && _waiting.TryPeek(out var item, out var place))
                {
                    bytes += item.Payload.Utf8.Length + 256;
                    if (items.Count > 0 && bytes > MaxBytes) break;
                    if (items.Count == 0) priority = 9 - place.Rank;
                    items.Add(_waiting.Dequeue());
                }
                if (items.Count > 0) return new CommandBatch(items) { Priority = priority };
                _busy = false;
                return null;
            }
        }

        private async Task SendAsync(CommandBatch envelope)
        {
            for (var delay = FirstRetry; !outbox._stop.IsCancellationRequested; delay = delay * 2 < LastRetry ? delay * 2 : LastRetry)
            {
                try
                {
                    await outbox.SendEnvelopeAsync(participant, envelope).ConfigureAwait(false);
                    return;
                }
                catch (Exception e) when (e is not OperationCanceledException || !outbox._stop.IsCancellationRequested)
                {
                    outbox.SendFailed(e, participant, envelope.Items.Count);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                await outbox.PauseAsync(delay).ConfigureAwait(false);
                var now = outbox.Now;
                envelope = envelope with { Items = [.. envelope.Items.Where(item => item.Deadline > now)] };
                if (envelope.Items.Count == 0) return;
            }
        }
    }

    private Task Run(Func<Task> work) => time.Run(work);

    private DateTimeOffset Now => time.GetUtcNow();

    private ILogger Log => log;

    private Task SendEnvelopeAsync(string participant, CommandBatch envelope)
    {
        Telemetry.Envelopes.Add(1);
        return transport.SendAsync(participant, envelope, _stop.Token);
    }

    private void SendFailed(Exception e, string participant, int count) => log.SendFailed(e, participant, count);

    private async Task PauseAsync(TimeSpan delay) =>
        await Task.Delay(delay, time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}

/// <summary>
/// How many commands may wait for one destination. It has not taken any for so long then that attempts time out, and the timers ask again: what finds no room is
/// left out, counted, and said once until there is room.
/// </summary>
internal sealed class LaneLimit(string destination, ILogger log)
{
    public const int Most = 100_000;
    private long _leftOut;

    /// <summary>Whether one more may be queued behind so many. Called under the lane's lock.</summary>
    public bool HasRoom(int waiting)
    {
        if (waiting >= Most)
        {
            Telemetry.CommandsLeftOut.Add(1, new KeyValuePair<string, object?>("destination", destination));
            if (_leftOut++ == 0) log.LaneFull(waiting, destination);
            return false;
        }
        if (_leftOut == 0 || waiting > Most / 2) return true;
        log.LaneHasRoom(destination, _leftOut);
        _leftOut = 0;
        return true;
    }
}

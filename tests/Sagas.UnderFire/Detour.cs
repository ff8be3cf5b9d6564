using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace Sagas.UnderFire;

/// <summary>
/// Every message passes here: commands come in on the queue that the engine knows and go on to the one where the participant hears, replies likewise, for the
/// commands' replyTo is changed on the way. So it can pass a message on twice, late, or not at all, and note what was said.
/// </summary>
internal sealed class Detour(string url, int seed, Score score) : IAsyncDisposable
{
    private const string Replies = "sagas.detour.";
    private readonly CancellationTokenSource _stop = new();
    private readonly Random _random = new(seed);
    private readonly ConcurrentDictionary<Task, bool> _late = new();
    private Task _running = Task.CompletedTask;
    private volatile bool _isPeace;
    private volatile Link? _link;

    /// <summary>What was said of each saga.</summary>
    public ConcurrentDictionary<string, Said> Heard { get; } = new();

    public void Start() => _running = Task.Run(RunAsync);

    /// <summary>From now on it passes everything on as it comes.</summary>
    public void MakePeace() => _isPeace = true;

    /// <summary>Returns when nothing is on its way any more.</summary>
    public async Task DrainedAsync(CancellationToken cancel)
    {
        for (var quiet = 0; quiet < 5; await Task.Delay(200, cancel))
        {
            try
            {
                var link = _link;
                var waiting = link is null || !_late.IsEmpty;
                foreach (var (from, to) in Routes())
                    waiting = waiting || await link!.Channel.MessageCountAsync(from, link.Gone) > 0 || await link.Channel.MessageCountAsync(to, link.Gone) > 0;
                quiet = waiting ? 0 : quiet + 1;
            }
            catch (Exception) when (!cancel.IsCancellationRequested)
            {
                quiet = 0;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Task.WhenAll(_late.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private static IEnumerable<(string From, string To)> Routes() =>
        Place.Participants.Select(name => ($"sagas.{name}", $"sagas.{Place.Desk(name)}")).Concat(Place.Nodes.Select(node => (Replies + node, $"sagas.replies.{node}")));

    /// <summary>Connects, and again whenever RabbitMQ has been away.</summary>
    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var gone = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                await using var connection = await new ConnectionFactory { Uri = new Uri(url), AutomaticRecoveryEnabled = false, ConsumerDispatchConcurrency = 4 }.CreateConnectionAsync(_stop.Token);
                connection.ConnectionShutdownAsync += (_, _) => gone.CancelAsync();
                await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true, consumerDispatchConcurrency: 8), _stop.Token);
                channel.ChannelShutdownAsync += (_, _) => gone.CancelAsync();
                var link = new Link(channel, gone.Token);
                await channel.BasicQosAsync(0, 64, global: false, _stop.Token);
                foreach (var (from, to) in Routes())
                {
                    await channel.QueueDeclareAsync(from, durable: true, exclusive: false, autoDelete: false, cancellationToken: _stop.Token);
                    var consumer = new AsyncEventingBasicConsumer(channel);
                    consumer.ReceivedAsync += (_, message) => PassAsync(link, to, message);
                    await channel.BasicConsumeAsync(from, autoAck: false, consumer, _stop.Token);
                }
                _link = link;
                await Task.Delay(Timeout.Infinite, gone.Token);
            }
            catch (Exception) when (!_stop.IsCancellationRequested)
            {
                // RabbitMQ is away; it comes back.
            }
            finally
            {
                _link = null;
            }
            await Task.Delay(200, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task PassAsync(Link link, string to, BasicDeliverEventArgs message)
    {
        try
        {
            var isCommand = !to.StartsWith("sagas.replies.", StringComparison.Ordinal);
            var body = Note(message.Body.Span, isCommand);
            var properties = new BasicProperties(message.BasicProperties);
            double fate, delay;
            lock (_random) (fate, delay) = (_isPeace ? 1 : _random.NextDouble(), _random.NextDouble());
            if (fate < 0.01) score.Hit(Fault.MessageLost);
            else if (fate < 0.11)
            {
                score.Hit(Fault.MessageDelayed);
                PassLater(to, properties, body, TimeSpan.FromSeconds(0.1 + 4 * delay * delay));
            }
            else
            {
                await link.Channel.BasicPublishAsync("", to, mandatory: false, properties, body, link.Gone);
                if (fate < 0.25)
                {
                    score.Hit(Fault.MessageDoubled);
                    PassLater(to, properties, body, TimeSpan.FromSeconds(fate < 0.15 ? 0 : 5 * delay * delay));
                }
            }
            await link.Channel.BasicAckAsync(message.DeliveryTag, multiple: false, link.Gone);
        }
        catch (Exception e) when (e is RabbitMQ.Client.Exceptions.RabbitMQClientException or OperationCanceledException or ObjectDisposedException)
        {
            // Not acknowledged: it is delivered again.
        }
    }

    private void PassLater(string to, BasicProperties properties, byte[] body, TimeSpan after)
    {
        // A copy that is late must not be dropped for being late.
        properties.ClearExpiration();
        var late = Task.Run(async () =>
        {
            try
            {
                await Task.Delay(after, _stop.Token);
                Link? link;
                while ((link = _link) is null) await Task.Delay(100, _stop.Token);
                await link.Channel.BasicPublishAsync("", to, mandatory: false, properties, body, link.Gone);
            }
            catch (Exception)
            {
                // Then it is lost.
            }
        });
        _late[late] = true;
        _ = late.ContinueWith(done => _late.TryRemove(done, out _), TaskScheduler.Default);
    }

    private byte[] Note(ReadOnlySpan<byte> body, bool isCommand)
    {
        var batch = JsonNode.Parse(body)!;
        foreach (var item in batch["items"]!.AsArray())
        {
            var (saga, step, phase) = ((string)item!["saga"]!, (string)item["step"]!, (string)item["phase"]!);
            var said = Heard.GetOrAdd(saga, static _ => new Said());
            lock (said)
            {
                if (isCommand)
                {
                    said.Confirm |= phase == "confirm";
                    said.Undo |= phase is "cancel" or "compensate";
                    item["replyTo"] = ((string)item["replyTo"]!).Replace("sagas.replies.", Replies, StringComparison.Ordinal);
                }
                else if (phase is "cancel" or "compensate" && (string?)item["outcome"] == "ok") said.Undone.TryAdd(step, Entry.Now);
                else if ((string?)item["code"] == "cancelled") score.Late();
            }
        }
        return isCommand ? System.Text.Encoding.UTF8.GetBytes(batch.ToJsonString()) : body.ToArray();
    }
}

/// <summary>A channel, and when it is no more: a publish that waits for RabbitMQ's confirm when the connection dies may wait for ever.</summary>
internal sealed record Link(IChannel Channel, CancellationToken Gone);

/// <summary>What was said of a saga on the wire.</summary>
internal sealed class Said
{
    public bool Confirm, Undo;

    /// <summary>The steps whose undoing was answered with ok, and when that was first seen.</summary>
    public Dictionary<string, long> Undone { get; } = [];
}

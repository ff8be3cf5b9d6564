using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using Sagas.Runtime;

namespace Sagas.MassTransit;

/// <summary>A queue of messages that were no envelopes. Looking at it means to take messages off it and to put them back: rarely asked, so slow is good enough.</summary>
internal sealed class RabbitMqDeadLetters(RabbitMqLink link, TimeProvider time, ILogger<RabbitMqBus> logger) : IDeadLetters
{
    public const string Queue = "sagas.dead-letters";

    private const int Most = 100_000, LongestReason = 500, Looks = 3;

    // What a listing holds in memory at once, whatever its limit.
    private const long MostBytes = 16 << 20;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    private static readonly Counter<long> Added = new Meter("Sagas").CreateCounter<long>("sagas.dead_letters", "{message}", "Messages that were no envelopes, by queue.");

    private static readonly Dictionary<string, object?> Arguments = new()
    {
        ["x-max-length"] = Most,                    // a sender gone wild must not fill the disk: the oldest go first
        ["x-delivery-limit"] = 1_000_000_000,       // each look at the queue counts as a delivery, and newer servers drop a message after 20
    };

    public async Task AddAsync(string queue, byte[] body, string reason)
    {
        var id = Guid.CreateVersion7().ToString("N");
        var properties = new BasicProperties
        {
            MessageId = id, Persistent = true, ContentType = "application/octet-stream",
            Headers = new Dictionary<string, object?>
            {
                ["sagas-queue"] = queue, ["sagas-at"] = time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture),
                ["sagas-reason"] = reason.Length <= LongestReason ? reason : reason[..LongestReason],
            },
        };
        await InChannelAsync(async (_, channel, cancel) =>
        {
            await channel.BasicPublishAsync("", Queue, mandatory: true, properties, body, cancel);
            return true;
        }, CancellationToken.None);
        Added.Add(1, new KeyValuePair<string, object?>("queue", queue));
        EnvelopeLog.PutAside(logger, queue, body.Length, id, reason);
    }

    public Task<DeadLetterPage> ListAsync(int limit, CancellationToken cancel) => InChannelAsync(async (_, channel, token) =>
    {
        var count = await channel.MessageCountAsync(Queue, token);
        var letters = new List<DeadLetter>();
        // Closing the channel puts everything back.
        for (var bytes = 0L; letters.Count < limit && bytes < MostBytes && await channel.BasicGetAsync(Queue, autoAck: false, token) is { } got; bytes += got.Body.Length) letters.Add(Read(got));
        return new DeadLetterPage(count, letters);
    }, cancel);

    public Task<bool> ReplayAsync(string id, CancellationToken cancel) => TakeAsync(id, async (connection, channel, letter, token) =>
    {
        await link.MakeAsync(connection, letter.Queue, letter.Queue.StartsWith(Envelopes.ReplyQueue(""), StringComparison.Ordinal), token);
        await channel.BasicPublishAsync("", letter.Queue, mandatory: true, new BasicProperties { Persistent = true, ContentType = "application/json" }, letter.Body, token);
        EnvelopeLog.Replayed(logger, id, letter.Queue);
    }, cancel);

    public Task<bool> DiscardAsync(string id, CancellationToken cancel) => TakeAsync(id, (_, _, letter, _) =>
    {
        EnvelopeLog.Discarded(logger, id, letter.Queue);
        return Task.CompletedTask;
    }, cancel);

    private async Task<bool> TakeAsync(string id, Func<IConnection, IChannel, DeadLetter, CancellationToken, Task> use, CancellationToken cancel)
    {
        // While somebody else looks, what he holds is not there.
        for (var look = 1; ; look++)
        {
            if (await TakeOnceAsync(id, use, cancel)) return true;
            if (look == Looks) return false;
            await Task.Delay(Pause, time, cancel);
        }
    }

    private Task<bool> TakeOnceAsync(string id, Func<IConnection, IChannel, DeadLetter, CancellationToken, Task> use, CancellationToken cancel) => InChannelAsync(async (connection, channel, token) =>
    {
        while (await channel.BasicGetAsync(Queue, autoAck: false, token) is { } got)
        {
            var letter = Read(got);
            if (letter.Id != id) continue;
            await use(connection, channel, letter, token);
            await channel.BasicAckAsync(got.DeliveryTag, multiple: false, token);
            return true;
        }
        return false;
    }, cancel);

    private Task<T> InChannelAsync<T>(Func<IConnection, IChannel, CancellationToken, Task<T>> work, CancellationToken cancel) => link.UseAsync(async (connection, token) =>
    {
        await link.MakeAsync(connection, Queue, Arguments, token);
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), token);
        return await work(connection, channel, token);
    }, cancel);

    private static DeadLetter Read(BasicGetResult got)
    {
        var headers = got.BasicProperties.Headers;
        return new DeadLetter(got.BasicProperties.MessageId ?? "", Header("sagas-queue"),
            DateTimeOffset.TryParse(Header("sagas-at"), CultureInfo.InvariantCulture, DateTimeStyles.None, out var at) ? at : default, Header("sagas-reason"), got.Body.ToArray());

        string Header(string name) => headers?.TryGetValue(name, out var value) == true && value is byte[] text ? Encoding.UTF8.GetString(text) : "";
    }
}

using System.Globalization;
using System.Net.Mime;
using System.Text;
using System.Text.Json;
using MassTransit;
using Microsoft.Extensions.Logging;

namespace Sagas.MassTransit;

/// <summary>
/// The wire's JSON and nothing around it, written once on the way out. On the way in <see cref="EnvelopeFilter{TBatch}"/> reads the bytes before MassTransit
/// would: no type names, no detour by way of JsonElement.
/// </summary>
internal sealed class EnvelopeSerialization : ISerializerFactory, IMessageSerializer, IMessageDeserializer
{
    public static readonly EnvelopeSerialization Factory = new();

    public ContentType ContentType { get; } = new("application/json");

    public IMessageSerializer CreateSerializer() => this;

    public IMessageDeserializer CreateDeserializer() => this;

    public MessageBody GetMessageBody<T>(SendContext<T> context) where T : class => new BytesMessageBody(JsonSerializer.SerializeToUtf8Bytes(context.Message, SagaJson.Options));

    public MessageBody GetMessageBody(string text) => new BytesMessageBody(Encoding.UTF8.GetBytes(text));

    public void Probe(ProbeContext context) => context.CreateScope("sagas-envelope");

    public ConsumeContext Deserialize(ReceiveContext receiveContext) => throw NotHere();

    public SerializerContext Deserialize(MessageBody body, Headers headers, Uri? destinationAddress) => throw NotHere();

    private static NotSupportedException NotHere() => new("The sagas' bus carries envelopes only. Use a MassTransit bus of your own for other messages.");
}

/// <summary>Takes an envelope off the queue. What cannot be read would not read better the next time: it is put aside, or dropped where nothing can keep it.</summary>
internal sealed class EnvelopeFilter<TBatch>(string queue, Func<TBatch, CancellationToken, ValueTask> accept, Unreadable unreadable, NotAccepted notAccepted, Deliveries deliveries)
    : IFilter<ReceiveContext> where TBatch : class
{
    /// <summary>After so many deliveries an envelope counts as unreadable. Below 20, after which RabbitMQ drops a message by itself.</summary>
    public const int MostDeliveries = 15;

    public async Task Send(ReceiveContext context, IPipe<ReceiveContext> next)
    {
        deliveries.Begin();
        try
        {
            await TakeAsync(context);
        }
        finally
        {
            deliveries.End();
        }
    }

    private async Task TakeAsync(ReceiveContext context)
    {
        var body = context.Body.GetBytes();
        if (context.TransportHeaders.TryGetHeader("x-delivery-count", out var count) && Convert.ToInt64(count, CultureInfo.InvariantCulture) >= MostDeliveries)
        {
            await unreadable(queue, body, $"It was delivered {count} times, and nobody came to an end with it.");
            return;
        }
        TBatch batch;
        try
        {
            batch = JsonSerializer.Deserialize<TBatch>(body, SagaJson.Options) ?? throw new JsonException("An envelope is an object with 'items'.");
        }
        catch (Exception e)
        {
            await unreadable(queue, body, e.Message);
            return;
        }
        try
        {
            await accept(batch, context.CancellationToken);
        }
        catch (Exception e)
        {
            await notAccepted(queue, e);
        }
    }

    public void Probe(ProbeContext context) => context.CreateFilterScope("sagas-envelope");
}

internal static partial class EnvelopeLog
{
    [LoggerMessage(20, LogLevel.Error, "A message on {Queue}, {Bytes} bytes, is no envelope and was dropped: {Reason}")]
    public static partial void Dropped(ILogger logger, string queue, long? bytes, string reason);

    [LoggerMessage(21, LogLevel.Warning, "An envelope on {Queue} was not accepted; the engine asks again.")]
    public static partial void NotAccepted(ILogger logger, string queue, Exception error);

    [LoggerMessage(22, LogLevel.Error, "A message on {Queue}, {Bytes} bytes, is no envelope and was put among the dead letters as {Id}: {Reason}")]
    public static partial void PutAside(ILogger logger, string queue, int bytes, string id, string reason);

    [LoggerMessage(23, LogLevel.Warning, "An envelope on {Queue} was not accepted; it is delivered again.")]
    public static partial void Returned(ILogger logger, string queue, Exception error);

    [LoggerMessage(24, LogLevel.Error, "{Why} Nothing is sent or heard meanwhile; it is tried again every second.")]
    public static partial void Unreachable(ILogger logger, string why);

    [LoggerMessage(25, LogLevel.Information, "RabbitMQ at {Address} is reached.")]
    public static partial void Reached(ILogger logger, string address);

    [LoggerMessage(26, LogLevel.Warning, "Queue {Queue} cannot be made as a quorum queue, and is made as a classic one: {Reason}")]
    public static partial void NoQuorum(ILogger logger, string queue, string reason);

    [LoggerMessage(27, LogLevel.Warning, "A bus did not stop in time; what it had heard is delivered again.")]
    public static partial void StopFailed(ILogger logger, Exception error);

    [LoggerMessage(28, LogLevel.Critical, "The bus could not be started. Restart this process; nothing acknowledged is lost.")]
    public static partial void StartFailed(ILogger logger, Exception error);

    [LoggerMessage(31, LogLevel.Warning, "Queue {Queue} holds {Count} messages and has delivered none for a while; its consumer is renewed.")]
    public static partial void Silent(ILogger logger, string queue, uint count);

    [LoggerMessage(32, LogLevel.Warning, "Queue {Queue} has had no consumer for a while, though RabbitMQ is reached; the bus is made anew.")]
    public static partial void Deaf(ILogger logger, string queue);

    [LoggerMessage(33, LogLevel.Warning, "Queue {Queue} was deleted and made again by somebody; its consumer is renewed. What was in it is lost, and the engine asks again. Leave it to the engine to make it.")]
    public static partial void MadeByOthers(ILogger logger, string queue);

    [LoggerMessage(29, LogLevel.Information, "Dead letter {Id} was put back on {Queue}.")]
    public static partial void Replayed(ILogger logger, string id, string queue);

    [LoggerMessage(30, LogLevel.Information, "Dead letter {Id} from {Queue} was thrown away.")]
    public static partial void Discarded(ILogger logger, string id, string queue);
}

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

/// <summary>Takes an envelope off the queue. What cannot be read is logged and gone: it would not read better the next time.</summary>
internal sealed class EnvelopeFilter<TBatch>(string queue, Func<TBatch, CancellationToken, ValueTask> accept, ILogger logger) : IFilter<ReceiveContext> where TBatch : class
{
    public async Task Send(ReceiveContext context, IPipe<ReceiveContext> next)
    {
        TBatch batch;
        try
        {
            batch = JsonSerializer.Deserialize<TBatch>(context.Body.GetBytes(), SagaJson.Options) ?? throw new JsonException("An envelope is an object with 'items'.");
        }
        catch (Exception e)
        {
            EnvelopeLog.Poison(logger, queue, context.Body.Length, e.Message);
            return;
        }
        try
        {
            await accept(batch, context.CancellationToken);
        }
        catch (Exception e)
        {
            EnvelopeLog.NotAccepted(logger, queue, e);
        }
    }

    public void Probe(ProbeContext context) => context.CreateFilterScope("sagas-envelope");
}

internal static partial class EnvelopeLog
{
    [LoggerMessage(20, LogLevel.Error, "A message on {Queue}, {Bytes} bytes, is no envelope and was dropped: {Reason}")]
    public static partial void Poison(ILogger logger, string queue, long? bytes, string reason);

    [LoggerMessage(21, LogLevel.Warning, "An envelope on {Queue} was not accepted; the engine asks again.")]
    public static partial void NotAccepted(ILogger logger, string queue, Exception error);
}

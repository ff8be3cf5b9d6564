using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.MassTransit;

/// <summary>The engine's way to the bus. A send waits until the bus has started, so an engine must not wait for its first sends before the host has started.</summary>
public sealed class MassTransitTransport : ITransport
{
    private readonly Envelopes _envelopes;

    internal MassTransitTransport(Envelopes envelopes, IOptions<SagasOptions> options) =>
        (_envelopes, ReplyTo) = (envelopes, Envelopes.ReplyQueue(options.Value.Node));

    /// <inheritdoc/>
    public string ReplyTo { get; }

    /// <inheritdoc/>
    public Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel) => _envelopes.SendAsync(Envelopes.CommandQueue(participant), batch, cancel);
}

/// <summary>Sends envelopes straight to a queue.</summary>
internal abstract class Envelopes
{
    public static string CommandQueue(string participant) => "sagas." + participant;

    public static string ReplyQueue(string node) => "sagas.replies." + node;

    /// <summary>Returns when the bus has it.</summary>
    public abstract Task SendAsync<TBatch>(string queue, TBatch batch, CancellationToken cancel) where TBatch : class;
}

/// <summary>A queue that this process listens to, and what becomes of a message there.</summary>
internal sealed record Listener(string Queue, bool IsReplies, IFilter<ReceiveContext> Filter, Deliveries Deliveries)
{
    /// <summary>One for each participant of this process, and one for the engine's replies if there is an engine.</summary>
    /// <param name="services">The host's services, all known.</param>
    /// <param name="hasEngine">Whether the engine uses this bus.</param>
    /// <param name="take">How a participant takes an envelope: until it waits its turn, or until it is answered.</param>
    /// <param name="unreadable">What becomes of a message that is no envelope.</param>
    /// <param name="notAccepted">What becomes of an envelope that was not taken; throws to have it delivered again.</param>
    public static IEnumerable<Listener> All(IServiceProvider services, bool hasEngine, TakeCommands take, Unreadable unreadable, NotAccepted notAccepted)
    {
        if (services.GetService<ParticipantHost>() is { } host)
        {
            var envelopes = services.GetRequiredService<Envelopes>();
            var send = new SendReplies(envelopes.SendAsync);
            foreach (var participant in host.Participants)
                yield return On<CommandBatch>(Envelopes.CommandQueue(participant), false, (batch, cancel) => take(host, participant, batch, send, cancel));
        }
        if (hasEngine)
        {
            // The engine needs the transport, the transport the bus, the bus the engine: it is looked up when the first reply is there.
            var engine = new Lazy<SagaEngine>(services.GetRequiredService<SagaEngine>);
            yield return On<ReplyBatch>(Envelopes.ReplyQueue(services.GetRequiredService<IOptions<SagasOptions>>().Value.Node), true,
                (batch, cancel) => engine.Value.ReceiveAsync(batch, cancel));
        }

        Listener On<TBatch>(string queue, bool isReplies, Func<TBatch, CancellationToken, ValueTask> accept) where TBatch : class
        {
            var deliveries = new Deliveries();
            return new(queue, isReplies, new EnvelopeFilter<TBatch>(queue, accept, unreadable, notAccepted, deliveries), deliveries);
        }
    }
}

/// <summary>Counts what a queue has delivered.</summary>
internal sealed class Deliveries
{
    private long _begun, _ended;

    public long Begun => Interlocked.Read(ref _begun);

    public long Open => Begun - Interlocked.Read(ref _ended);

    public void Begin() => Interlocked.Increment(ref _begun);

    public void End() => Interlocked.Increment(ref _ended);
}

/// <summary>How a participant takes an envelope.</summary>
internal delegate ValueTask TakeCommands(ParticipantHost host, string participant, CommandBatch batch, SendReplies send, CancellationToken cancel);

/// <summary>What becomes of a message that is no envelope.</summary>
internal delegate Task Unreadable(string queue, byte[] body, string reason);

/// <summary>What becomes of an envelope that was not taken.</summary>
internal delegate Task NotAccepted(string queue, Exception error);

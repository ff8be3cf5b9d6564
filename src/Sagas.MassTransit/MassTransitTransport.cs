using System.Collections.Concurrent;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
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

/// <summary>Sends envelopes straight to a queue's exchange: nothing is published, and what nobody listens to is not kept.</summary>
internal sealed class Envelopes(IServiceProvider services, BusRegistration registration)
{
    // The bus, in the making, already needs a way to send: it is looked up when there is something to send.
    private readonly Lazy<ISagasBus> _bus = new(services.GetRequiredService<ISagasBus>);
    private readonly ConcurrentDictionary<string, Task<ISendEndpoint>> _endpoints = new(StringComparer.Ordinal);

    public static string CommandQueue(string participant) => "sagas." + participant;

    public static string ReplyQueue(string node) => "sagas.replies." + node;

    public async Task SendAsync<TBatch>(string queue, TBatch batch, CancellationToken cancel) where TBatch : class
    {
        if (!registration.Started.IsCompleted) await registration.Started.WaitAsync(cancel);
        var endpoint = _endpoints.TryGetValue(queue, out var known) && !known.IsFaulted ? known : _endpoints[queue] = _bus.Value.GetSendEndpoint(new Uri("exchange:" + Uri.EscapeDataString(queue)));
        await (await endpoint).Send(batch, cancel);
    }
}

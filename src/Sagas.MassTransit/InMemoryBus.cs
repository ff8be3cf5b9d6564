using System.Collections.Concurrent;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.MassTransit;

/// <summary>The bus of the sagas: one of its own, so that a MassTransit bus of the host's is left alone.</summary>
public interface ISagasBus : IBus;

/// <summary>Joins engine and participants by a bus inside the process.</summary>
public static class InMemoryBusExtensions
{
    /// <summary>
    /// Carries commands and replies over an in-memory bus: to every participant of this process, whether it is added before or after. What is on the bus when
    /// the process ends is lost, and asked again by the engine.
    /// </summary>
    public static SagasBuilder UseInMemoryBus(this SagasBuilder builder)
    {
        Register(builder.Services).HasEngine = true;
        builder.Services.TryAddSingleton(services => new MassTransitTransport(services.GetRequiredService<Envelopes>(), services.GetRequiredService<IOptions<SagasOptions>>()));
        builder.Services.Replace(ServiceDescriptor.Singleton<ITransport>(services => services.GetRequiredService<MassTransitTransport>()));
        return builder;
    }

    /// <summary>Gives participants an in-memory bus without an engine, for tests: send a <see cref="CommandBatch"/> by <see cref="ISagasBus"/>. Beside an engine that uses one it changes nothing.</summary>
    public static ParticipantsBuilder UseInMemoryBus(this ParticipantsBuilder builder)
    {
        Register(builder.Services);
        return builder;
    }

    private static BusRegistration Register(IServiceCollection services)
    {
        var known = services.FirstOrDefault(s => s.ServiceType == typeof(BusRegistration))?.ImplementationInstance;
        if (known is not null) return (BusRegistration)known;
        var registration = new BusRegistration();
        services.AddSingleton(registration);
        services.AddSingleton<Envelopes, InMemoryEnvelopes>();
        services.AddMassTransit<ISagasBus>(bus => bus.UsingInMemory((context, factory) => registration.Configure(context, factory)));
        return registration;
    }
}

/// <summary>Wires the bus when it is made, that is, when all services are known.</summary>
internal sealed class BusRegistration
{
    // MassTransit's in-memory transport is fastest with few consumers at a time; ours only hand over.
    private const int Consumers = 4, Prefetch = 256;

    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool HasEngine { get; set; }

    /// <summary>Completes when the bus and its queues are there: what is sent before vanishes.</summary>
    public Task Started => _started.Task;

    public void Configure(IServiceProvider services, IInMemoryBusFactoryConfigurator factory)
    {
        var logger = services.GetRequiredService<ILogger<ISagasBus>>();
        factory.ConnectBusObserver(new StartObserver(_started));
        factory.ClearSerialization();
        factory.AddSerializer(EnvelopeSerialization.Factory);
        factory.AddDeserializer(EnvelopeSerialization.Factory, true);

        Unreadable drop = (queue, body, reason) =>
        {
            EnvelopeLog.Dropped(logger, queue, body.Length, reason);
            return Task.CompletedTask;
        };
        NotAccepted note = (queue, error) =>
        {
            EnvelopeLog.NotAccepted(logger, queue, error);
            return Task.CompletedTask;
        };
        foreach (var listener in Listener.All(services, HasEngine, static (host, name, batch, send, cancel) => host.AcceptAsync(name, batch, send, cancel), drop, note))
            factory.ReceiveEndpoint(listener.Queue, endpoint =>
            {
                endpoint.ConfigureConsumeTopology = false;
                endpoint.PublishFaults = false;
                endpoint.PrefetchCount = Prefetch;
                endpoint.ConcurrentMessageLimit = Consumers;
                endpoint.ConfigureReceive(pipe => pipe.UseFilter(listener.Filter));
            });
    }

    private sealed class StartObserver(TaskCompletionSource started) : IBusObserver
    {
        public async Task PostStart(IBus bus, Task<BusReady> busReady)
        {
            await busReady;
            started.TrySetResult();
        }

        public void PostCreate(IBus bus) { }
        public void CreateFaulted(Exception exception) { }
        public Task PreStart(IBus bus) => Task.CompletedTask;
        public Task StartFaulted(IBus bus, Exception exception) => Task.CompletedTask;
        public Task PreStop(IBus bus) => Task.CompletedTask;
        public Task PostStop(IBus bus) => Task.CompletedTask;
        public Task StopFaulted(IBus bus, Exception exception) => Task.CompletedTask;
    }
}

/// <summary>Sends to a queue's exchange: nothing is published, and what nobody listens to is not kept.</summary>
internal sealed class InMemoryEnvelopes(IServiceProvider services, BusRegistration registration) : Envelopes
{
    // The bus, in the making, already needs a way to send: it is looked up when there is something to send.
    private readonly Lazy<ISagasBus> _bus = new(services.GetRequiredService<ISagasBus>);
    private readonly ConcurrentDictionary<string, Task<ISendEndpoint>> _endpoints = new(StringComparer.Ordinal);

    public override async Task SendAsync<TBatch>(string queue, TBatch batch, CancellationToken cancel)
    {
        if (!registration.Started.IsCompleted) await registration.Started.WaitAsync(cancel);
        var endpoint = _endpoints.TryGetValue(queue, out var known) && !known.IsFaulted ? known : _endpoints[queue] = _bus.Value.GetSendEndpoint(new Uri("exchange:" + Uri.EscapeDataString(queue)));
        await (await endpoint).Send(batch, cancel);
    }
}

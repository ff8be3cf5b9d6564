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
        services.AddSingleton<Envelopes>();
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

        if (services.GetService<ParticipantHost>() is { } host)
        {
            var send = new SendReplies(services.GetRequiredService<Envelopes>().SendAsync);
            foreach (var participant in host.Participants)
                Receive<CommandBatch>(factory, Envelopes.CommandQueue(participant), logger, (batch, cancel) => host.AcceptAsync(participant, batch, send, cancel));
        }
        if (HasEngine)
        {
            var queue = Envelopes.ReplyQueue(services.GetRequiredService<IOptions<SagasOptions>>().Value.Node);
            // The engine needs the transport, the transport the bus, the bus the engine: it is looked up when the first reply is there.
            var engine = new Lazy<SagaEngine>(services.GetRequiredService<SagaEngine>);
            Receive<ReplyBatch>(factory, queue, logger, (batch, cancel) => engine.Value.ReceiveAsync(batch, cancel));
        }
    }

    private static void Receive<TBatch>(IInMemoryBusFactoryConfigurator factory, string queue, ILogger logger, Func<TBatch, CancellationToken, ValueTask> accept)
        where TBatch : class =>
        factory.ReceiveEndpoint(queue, endpoint =>
        {
            endpoint.ConfigureConsumeTopology = false;
            endpoint.PublishFaults = false;
            endpoint.PrefetchCount = Prefetch;
            endpoint.ConcurrentMessageLimit = Consumers;
            endpoint.ConfigureReceive(pipe => pipe.UseFilter(new EnvelopeFilter<TBatch>(queue, accept, logger)));
        });

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

using System.Collections.Concurrent;
using System.Globalization;
using MassTransit;
using MassTransit.RabbitMqTransport;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.MassTransit;

/// <summary>Joins engines and participants of many processes by RabbitMQ.</summary>
public static class RabbitMqBusExtensions
{
    /// <summary>
    /// Carries commands and replies over RabbitMQ. Settings come from the configuration section <c>Sagas:RabbitMq</c>, then from <paramref name="configure"/>.
    /// The host starts and runs whether RabbitMQ is there or not: what is committed meanwhile is sent when it is.
    /// </summary>
    public static SagasBuilder UseRabbitMq(this SagasBuilder builder, Action<RabbitMqOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Register(builder.Services, configure).HasEngine = true;
        builder.Services.TryAddSingleton(services => new MassTransitTransport(services.GetRequiredService<Envelopes>(), services.GetRequiredService<IOptions<SagasOptions>>()));
        builder.Services.Replace(ServiceDescriptor.Singleton<ITransport>(services => services.GetRequiredService<MassTransitTransport>()));
        builder.Services.Replace(ServiceDescriptor.Singleton<IDeadLetters>(services => services.GetRequiredService<RabbitMqDeadLetters>()));
        builder.Services.Replace(ServiceDescriptor.Singleton<IBusMonitor>(services => services.GetRequiredService<RabbitMqMonitor>()));
        return builder;
    }

    /// <summary>
    /// Connects this process's participants to RabbitMQ: each hears on the queue <c>sagas.{participant}</c>. Settings as for an engine. In a process with an
    /// engine it is enough to say it once.
    /// </summary>
    public static ParticipantsBuilder UseRabbitMq(this ParticipantsBuilder builder, Action<RabbitMqOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Register(builder.Services, configure);
        return builder;
    }

    private static RabbitMqRegistration Register(IServiceCollection services, Action<RabbitMqOptions>? configure)
    {
        if (configure is not null) services.Configure(configure);
        if (services.FirstOrDefault(s => s.ServiceType == typeof(RabbitMqRegistration))?.ImplementationInstance is RabbitMqRegistration known) return known;
        var registration = new RabbitMqRegistration();
        services.AddSingleton(registration);
        // Before what the caller configures: code wins over configuration.
        services.Insert(0, ServiceDescriptor.Singleton<IConfigureOptions<RabbitMqOptions>>(provider =>
        {
            var section = provider.GetRequiredService<IConfiguration>().GetSection("Sagas:RabbitMq");
            return new ConfigureNamedOptions<RabbitMqOptions>(Options.DefaultName, options =>
            {
                section.Bind(options);
                // Several in one text; the binder itself takes only a list.
                foreach (var host in section["Hosts"]?.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? []) options.Hosts.Add(host);
            });
        }));
        services.AddOptions<RabbitMqOptions>().ValidateDataAnnotations().ValidateOnStart();
        services.AddSingleton<IValidateOptions<RabbitMqOptions>, RabbitMqOptionsCheck>();
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton<RabbitMqLink>();
        services.AddSingleton<RabbitMqDeadLetters>();
        services.AddSingleton<RabbitMqBus>();
        services.AddSingleton<RabbitMqMonitor>();
        services.AddSingleton<Envelopes>(provider => provider.GetRequiredService<RabbitMqBus>());
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredService<RabbitMqBus>());
        services.AddHealthChecks().AddCheck<RabbitMqHealth>("sagas-rabbitmq", tags: ["ready"]);
        return registration;
    }
}

/// <summary>What the builders of this process said; read when the bus is made.</summary>
internal sealed class RabbitMqRegistration
{
    public bool HasEngine { get; set; }
}

/// <summary>
/// Two buses, that is two connections: RabbitMQ stops reading from one that publishes when it runs out of memory or disk, and acknowledgements must get through
/// then. Envelopes go to the default exchange under the queue's name, so a queue is all that engine and participants, MassTransit's or not, need to agree on.
/// </summary>
internal sealed class RabbitMqBus(IServiceProvider services, RabbitMqRegistration registration, IOptions<RabbitMqOptions> options, RabbitMqLink link,
    RabbitMqDeadLetters deadLetters, TimeProvider time, ILogger<RabbitMqBus> logger, ILoggerFactory loggers) : Envelopes, IHostedService
{
    // MassTransit's name for the default exchange, where the routing key is the queue.
    private static readonly Uri DefaultExchange = new("exchange:amq.rabbitmq.reply-to");

    private static readonly TimeSpan Breather = TimeSpan.FromSeconds(1), Look = TimeSpan.FromSeconds(3), LongestSend = TimeSpan.FromMinutes(1);

    // So many looks.
    private const int Patience = 5;

    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<ISendEndpoint> _sender = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Dictionary<long, (string Queue, DateTimeOffset Since)> _sends = [];
    private readonly ConcurrentDictionary<string, bool> _made = new(StringComparer.Ordinal);
    private IReadOnlyList<QueueFilter> _listeners = [];
    private Task _running = Task.CompletedTask;
    private long _send;

    /// <summary>Begins to connect, and does not wait for it.</summary>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        LogContext.ConfigureCurrentLogContext(loggers);
        _listeners = [.. Listener.All(services, registration.HasEngine, static (host, name, batch, send, cancel) => host.HandleAsync(name, batch, send, cancel), deadLetters.AddAsync, ReturnAsync)
            .Select(listener => new QueueFilter(listener, link, options.Value.Prefetch, time, logger, _stopping.Token))];
        _running = Task.WhenAll(SendAsync(), HearAsync());
        return Task.CompletedTask;
    }

    /// <summary>Hears and sends no more. What was heard and not answered is delivered again, to another process if there is one.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await _running.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await link.DisposeAsync();
    }

    private async Task SendAsync()
    {
        var bus = Bus.Factory.CreateUsingRabbitMq(bus => Connect(bus, "sends"));
        try
        {
            await bus.StartAsync(_stopping.Token);
            _sender.TrySetResult(await bus.GetSendEndpoint(DefaultExchange));
            await _stopping.Token.UntilCancelled();
        }
        catch (Exception e) when (!_stopping.IsCancellationRequested)
        {
            EnvelopeLog.StartFailed(logger, e);
        }
        finally
        {
            await StopAsync(bus);
        }
    }

    /// <summary>
    /// Hears, and sees to it that it does: MassTransit gives up listening for good when RabbitMQ is slow to answer, as it is after a crash; a consumer that came
    /// too early may never be served; and one whose quorum queue was deleted and made again within milliseconds is not told, and counted as handed what it never gets.
    /// </summary>
    private async Task HearAsync()
    {
        while (_listeners.Count > 0 && !_stopping.IsCancellationRequested)
        {
            var bus = Bus.Factory.CreateUsingRabbitMq(bus =>
            {
                Connect(bus, "hears");
                foreach (var listener in _listeners) bus.ReceiveEndpoint(listener.Queue, endpoint => Configure(endpoint, listener));
            });
            try
            {
                await bus.StartAsync(_stopping.Token);
                await WatchAsync();
            }
            catch (Exception e) when (!_stopping.IsCancellationRequested)
            {
                EnvelopeLog.StartFailed(logger, e);
                await Task.Delay(Breather, time, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            finally
            {
                await StopAsync(bus);
            }
        }
    }

    /// <summary>Returns when a queue has had no consumer for long, though RabbitMQ can be reached.</summary>
    private async Task WatchAsync()
    {
        var silent = 0;
        while (silent < Patience)
        {
            await Task.Delay(Look, time, _stopping.Token);
            var deaf = _listeners.FirstOrDefault(listener => !listener.IsOpen);
            silent = deaf is null || link.Fault is not null ? 0 : silent + 1;
            if (silent == Patience) EnvelopeLog.Deaf(logger, deaf!.Queue);
            foreach (var listener in _listeners) await listener.LookAsync(_stopping.Token);
        }
    }

    private async Task StopAsync(IBusControl bus)
    {
        try
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(10));
            await bus.StopAsync(patience.Token).WaitAsync(patience.Token);
        }
        catch (Exception e)
        {
            EnvelopeLog.StopFailed(logger, e);
        }
    }

    public override async Task SendAsync<TBatch>(string queue, TBatch batch, CancellationToken cancel)
    {
        var send = Interlocked.Increment(ref _send);
        lock (_sends) _sends[send] = (queue, time.GetUtcNow());
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stopping.Token);
        try
        {
            var endpoint = await _sender.Task.WaitAsync(limit.Token);
            limit.CancelAfter(LongestSend);
            // A participant may start later, and find its commands there.
            if (batch is CommandBatch && !_made.ContainsKey(queue)) await MakeAsync(queue, limit.Token);
            try
            {
                await SendOnceAsync(endpoint, queue, batch, limit.Token);
            }
            catch (MessageReturnedException)
            {
                // It was there, and somebody deleted it.
                await Task.Delay(Breather, time, limit.Token);      // made again at once, RabbitMQ would not tell its consumers
                await MakeAsync(queue, limit.Token);
                await SendOnceAsync(endpoint, queue, batch, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new BusUnavailableException($"RabbitMQ has not confirmed an envelope for {queue}. Whether it was sent is unknown.");
        }
        finally
        {
            lock (_sends) _sends.Remove(send);
        }
    }

    /// <summary>The send that has waited longest, if any has waited for long.</summary>
    public (string Queue, TimeSpan For)? Held(TimeSpan longerThan)
    {
        lock (_sends)
        {
            if (_sends.Count == 0) return null;
            var oldest = _sends.Values.MinBy(send => send.Since);
            var held = time.GetUtcNow() - oldest.Since;
            return held > longerThan ? (oldest.Queue, held) : null;
        }
    }

    private async Task MakeAsync(string queue, CancellationToken cancel)
    {
        await link.UseAsync(async (connection, token) =>
        {
            await link.MakeAsync(connection, queue, isReplies: false, token);
            return true;
        }, cancel);
        _made[queue] = true;
    }

    private Task SendOnceAsync<TBatch>(ISendEndpoint endpoint, string queue, TBatch batch, CancellationToken cancel) where TBatch : class
    {
        // Replies to a node that is gone, queue and all, go nowhere: whoever has its sagas now asks again. Commands are not lost for want of a queue.
        var (mandatory, lasting) = batch is CommandBatch commands ? (true, Lasting(commands)) : (false, null);
        return endpoint.Send(batch, Pipe.Execute<SendContext<TBatch>>(context =>
        {
            var send = (RabbitMqSendContext<TBatch>)context;
            send.RoutingKey = queue;
            send.Mandatory = mandatory;
            send.TimeToLive = lasting;
            if (batch is CommandBatch urgent) send.BasicProperties.Priority = (byte)urgent.Priority;
        }), cancel);
    }

    /// <summary>Until the last deadline: after it the engine has asked again, and a queue that nobody reads must not fill with what is out of date.</summary>
    private TimeSpan? Lasting(CommandBatch batch)
    {
        if (batch.Items.Count == 0 || batch.Items.Max(item => item.Deadline ?? DateTimeOffset.MaxValue) is var last && last == DateTimeOffset.MaxValue) return null;
        var left = last - time.GetUtcNow();
        return left > Breather ? left : Breather;
    }

    private void Connect(IRabbitMqBusFactoryConfigurator bus, string purpose)
    {
        bus.ClearSerialization();
        bus.AddSerializer(EnvelopeSerialization.Factory);
        bus.AddDeserializer(EnvelopeSerialization.Factory, true);
        var server = options.Value.Server;
        bus.Host(server.Host, (ushort)server.Port, "/", host =>
        {
            host.ConnectionName($"sagas {Environment.MachineName} {Environment.ProcessId} {purpose}");
            // MassTransit waits ever longer between its own attempts, and gives up for good after a wrong password: it is let go on only when it will succeed.
            host.OnRefreshConnectionFactory = async factory =>
            {
                options.Value.Apply(factory);
                await link.ReachAsync(_stopping.Token);
            };
        });
    }

    private void Configure(IRabbitMqReceiveEndpointConfigurator endpoint, QueueFilter listener)
    {
        endpoint.ConfigureConsumeTopology = false;
        endpoint.PublishFaults = false;
        endpoint.PrefetchCount = options.Value.Prefetch;
        endpoint.BindQueue = false;                                 // the queue is made below, as what it is there if it is there
        endpoint.Durable = true;
        endpoint.AutoDelete = true;                                 // of the exchange that MassTransit wants to have: it goes with the queue
        endpoint.ConfigureChannel(pipe => pipe.UseFilter(listener));
        endpoint.ConfigureReceive(pipe => pipe.UseFilter(listener.Listener.Filter));
    }

    /// <summary>Has it delivered again, though not at once: what is refused now is likely to be refused in a millisecond.</summary>
    private async Task ReturnAsync(string queue, Exception error)
    {
        if (!_stopping.IsCancellationRequested) EnvelopeLog.Returned(logger, queue, error);
        await Task.Delay(Breather, time, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        throw new InvalidOperationException($"An envelope on {queue} was not accepted.", error);
    }

    /// <summary>A queue with its consumer. Makes the queue each time the channel is opened: RabbitMQ may have come back without it.</summary>
    private sealed class QueueFilter(Listener listener, RabbitMqLink link, int prefetch, TimeProvider time, ILogger logger, CancellationToken stopping) : IFilter<ChannelContext>
    {
        private ChannelContext? _channel;
        private long _begun = -1;
        private bool _made;

        public Listener Listener => listener;

        public string Queue => listener.Queue;

        public bool IsOpen => Volatile.Read(ref _channel) is not null;

        public async Task Send(ChannelContext context, IPipe<ChannelContext> next)
        {
            try
            {
                var connection = context.ConnectionContext.Connection;
                // Deleted: its other consumers must hear of that first.
                if (_made && await RabbitMqLink.LookAsync(connection, listener.Queue, context.CancellationToken) is null) await Task.Delay(Breather, time, context.CancellationToken);
                await link.MakeAsync(connection, listener.Queue, listener.IsReplies, context.CancellationToken);
                _made = true;
                Volatile.Write(ref _channel, context);
                await next.Send(context);
            }
            catch (OperationCanceledException e) when (!stopping.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
            {
                // RabbitMQ's client says so when a question was not answered in time, and MassTransit takes it for the end.
                throw new RabbitMqConnectionException($"RabbitMQ did not answer in time for {listener.Queue}.", e);
            }
            finally
            {
                Volatile.Write(ref _channel, null);
            }
        }

        /// <summary>
        /// Renews a consumer that is owed messages and gets none. RabbitMQ may count them as ready, or as handed to a consumer that never gets them; the second is
        /// seen only by what went with the queue when somebody deleted it.
        /// </summary>
        public async Task LookAsync(CancellationToken cancel)
        {
            var (begun, before) = (listener.Deliveries.Begun, _begun);
            _begun = begun;
            if (begun != before || listener.Deliveries.Open >= prefetch || Volatile.Read(ref _channel) is not { } context) return;
            try
            {
                var (count, isMade) = await link.UseAsync(async (connection, token) =>
                {
                    await using var channel = await connection.CreateChannelAsync(cancellationToken: token);
                    return (await channel.MessageCountAsync(listener.Queue, token), await RabbitMqLink.IsMadeAsync(connection, listener.Queue, token));
                }, cancel);
                if (listener.Deliveries.Begun != begun || (count == 0 && isMade)) return;
                if (isMade) EnvelopeLog.Silent(logger, listener.Queue, count);
                else EnvelopeLog.MadeByOthers(logger, listener.Queue);
                await context.Channel.CloseAsync(RabbitMQ.Client.Constants.ReplySuccess, "It is renewed.", abort: false, cancel);
            }
            catch (Exception e) when (e is not OperationCanceledException || !cancel.IsCancellationRequested)
            {
                // The queue or the connection is gone, and its consumer will hear of that too.
            }
        }

        public void Probe(ProbeContext context) => context.CreateFilterScope("sagas-queue");
    }
}

/// <summary>What RabbitMQ tells of itself.</summary>
internal sealed class RabbitMqMonitor(RabbitMqBus bus, RabbitMqLink link, IOptions<SagasOptions> engine) : IBusMonitor
{
    public string Name => "rabbitmq";

    public string? Fault => link.Fault is { } fault ? fault
        : bus.Held(TimeSpan.FromSeconds(5)) is var (queue, time) ? string.Create(CultureInfo.InvariantCulture,
            $"RabbitMQ has not confirmed an envelope for {queue} in {time.TotalSeconds:0} s. It may be out of memory or disk: rabbitmq-diagnostics alarms says so.")
        : null;

    public Task<IReadOnlyList<BusQueue>> QueuesAsync(IEnumerable<string> participants, CancellationToken cancel) => link.UseAsync<IReadOnlyList<BusQueue>>(async (connection, token) =>
    {
        var queues = new List<BusQueue>();
        foreach (var queue in participants.Select(Envelopes.CommandQueue).Append(Envelopes.ReplyQueue(engine.Value.Node)))
            if (await RabbitMqLink.LookAsync(connection, queue, token) is var (messages, consumers)) queues.Add(new BusQueue(queue, messages, consumers));
        return queues;
    }, cancel);
}

/// <summary>Degraded, not unhealthy: sagas are started and committed, and what they send goes out later.</summary>
internal sealed class RabbitMqHealth(RabbitMqMonitor monitor) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(monitor.Fault is { } fault ? HealthCheckResult.Degraded(fault) : HealthCheckResult.Healthy());
}

internal static class Cancellation
{
    /// <summary>Completes when the token is cancelled.</summary>
    public static Task UntilCancelled(this CancellationToken token)
    {
        var cancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        token.UnsafeRegister(static state => ((TaskCompletionSource)state!).TrySetResult(), cancelled);
        return cancelled.Task;
    }
}

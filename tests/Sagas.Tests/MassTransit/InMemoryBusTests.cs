using System.Collections.Concurrent;
using System.Text;
using System.Threading.Channels;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Runtime;
using Sagas.Tests.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.MassTransit;

public sealed class InMemoryBusTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task A_batch_of_commands_comes_back_as_replies()
    {
        await using var office = await Office.OpenAsync();
        await office.SendAsync(new CommandBatch([.. Enumerable.Range(0, 50).Select(i => Item($"s{i}"))]));
        var replies = new List<ReplyItem>();
        while (replies.Count < 50) replies.AddRange((await office.NextAsync()).Items);
        replies.ShouldAllBe(r => r.Outcome == Outcome.Ok && r.Payload!.ToString() == """{"id":"12A"}""");
        replies.Select(r => r.Saga).Distinct().Count().ShouldBe(50);
    }

    [Fact]
    public async Task Bytes_from_a_client_without_MassTransit_are_understood_and_poison_is_survived()
    {
        await using var office = await Office.OpenAsync();
        foreach (var poison in new[] { "", "null", "{", "[]", "{}", """{"items":[{"saga":"s1"}]}""", """{"items":[{"saga":"s1","step":"seat","phase":"fly","command":"c","replyTo":"r"}]}""", "\u0000\u00ff" })
            await office.SendRawAsync(Encoding.Latin1.GetBytes(poison));
        await office.SendRawAsync("""{"unknown":1,"items":[{"saga":"s1","step":"seat","phase":"try","command":"reserve-seat","payload":{"flight":"LH1"},"replyTo":"sagas.replies.test"}]}"""u8.ToArray());
        var reply = (await office.NextAsync()).Items.ShouldHaveSingleItem();
        reply.ShouldBeOk("""{"id":"12A"}""");
        office.Logged.Count(l => l.Contains("is no envelope and was dropped", StringComparison.Ordinal)).ShouldBe(8);
    }

    [Fact]
    public async Task The_transport_sends_from_before_the_bus_has_started()
    {
        await using var office = Office.Make();
        var transport = office.Host.Services.GetRequiredService<ITransport>();
        transport.ReplyTo.ShouldBe("sagas.replies.n1");
        var sending = transport.SendAsync("agency", new CommandBatch([Item("s1")]), default);
        sending.IsCompleted.ShouldBeFalse();
        await office.StartAsync();
        await sending.WaitAsync(Soon);
        (await office.NextAsync()).Items.ShouldHaveSingleItem().ShouldBeOk();
    }

    [Fact]
    public async Task A_bus_of_the_hosts_own_is_left_alone()
    {
        var heard = new TaskCompletionSource<string>();
        await using var office = await Office.OpenAsync(services => services.AddMassTransit(bus => bus.UsingInMemory((_, factory) =>
            factory.ReceiveEndpoint("own", endpoint => endpoint.Handler<Greeting>(context =>
            {
                heard.TrySetResult(context.Message.Text);
                return Task.CompletedTask;
            })))));
        await office.Host.Services.GetRequiredService<IBus>().Publish(new Greeting("hello"));
        (await heard.Task.WaitAsync(Soon)).ShouldBe("hello");
        await office.SendAsync(new CommandBatch([Item("s1")]));
        (await office.NextAsync()).Items.ShouldHaveSingleItem().ShouldBeOk();
    }

    public sealed record Greeting(string Text);

    private static CommandItem Item(string saga) =>
        new(saga, "seat", Phase.Try, 1, "reserve-seat", $"{saga}/seat/try", Payload.Parse("""{"flight":"LH1"}"""), DateTimeOffset.UtcNow.AddMinutes(1), "sagas.replies.test", null);

    /// <summary>A host with a bus, the transport registered before the participants, and the test in the engine's place.</summary>
    private sealed class Office : IAsyncDisposable
    {
        private readonly Channel<ReplyBatch> _replies = Channel.CreateUnbounded<ReplyBatch>();

        public required IHost Host { get; init; }
        public ConcurrentQueue<string> Logged { get; private init; } = new();

        public static Office Make(Action<IServiceCollection>? more = null)
        {
            var logged = new ConcurrentQueue<string>();
            var builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
            builder.Logging.AddProvider(new Notes(logged));
            builder.Services.Configure<SagasOptions>(o => o.Node = "n1");
            new SagasBuilder(builder.Services).UseInMemoryBus();
            builder.Services.AddSagaParticipants(p => p.Add<Agent>("agency").UseInMemoryBus());
            more?.Invoke(builder.Services);
            return new Office { Host = builder.Build(), Logged = logged };
        }

        public static async Task<Office> OpenAsync(Action<IServiceCollection>? more = null)
        {
            var office = Make(more);
            await office.StartAsync();
            return office;
        }

        public async Task StartAsync()
        {
            var connected = Host.Services.GetRequiredService<ISagasBus>().ConnectReceiveEndpoint("sagas.replies.test", endpoint =>
                endpoint.ConfigureReceive(pipe => pipe.UseFilter(new EnvelopeFilter<ReplyBatch>("test", (batch, cancel) => _replies.Writer.WriteAsync(batch, cancel), (_, _, _) => Task.CompletedTask, (_, _) => Task.CompletedTask, new Deliveries()))));
            await Host.StartAsync();
            await connected.Ready.WaitAsync(Soon);
        }

        public async Task SendAsync(CommandBatch batch) => await Host.Services.GetRequiredService<ITransport>().SendAsync("agency", batch, default);

        public async Task SendRawAsync(byte[] bytes)
        {
            var endpoint = await Host.Services.GetRequiredService<ISagasBus>().GetSendEndpoint(new Uri("exchange:sagas.agency"));
            await endpoint.Send(new CommandBatch([]), context => context.Serializer = new Raw(bytes));
        }

        public async Task<ReplyBatch> NextAsync() => await _replies.Reader.ReadAsync().AsTask().WaitAsync(Soon);

        public async ValueTask DisposeAsync()
        {
            await Host.StopAsync();
            await ((IAsyncDisposable)Host).DisposeAsync();
        }
    }

    private sealed class Raw(byte[] bytes) : IMessageSerializer
    {
        public System.Net.Mime.ContentType ContentType { get; } = new("application/json");

        public MessageBody GetMessageBody<T>(SendContext<T> context) where T : class => new BytesMessageBody(bytes);
    }

    private sealed class Notes(ConcurrentQueue<string> logged) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => logged.Enqueue(formatter(state, exception));
        public void Dispose() { }
    }
}

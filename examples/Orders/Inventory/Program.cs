using Orders;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Redis;

var builder = Host.CreateApplicationBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
builder.Services.AddSagaParticipants(p => p.Add<Inventory>("inventory").UseRedisBarrier().UseRabbitMq());
using var host = builder.Build();
try
{
    await host.StartAsync();
}
catch (Exception e)
{
    Console.Error.WriteLine($"inventory cannot start: {e.Message}");
    return 1;
}
Console.WriteLine("inventory is ready.");
await host.WaitForShutdownAsync();
return 0;

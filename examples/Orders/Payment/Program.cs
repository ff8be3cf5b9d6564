using Orders;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Redis;

var builder = Host.CreateApplicationBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
builder.Services.AddSagaParticipants(p => p.Add<Payment>("payment").UseRedisBarrier().UseRabbitMq());
using var host = builder.Build();
try
{
    await host.StartAsync();
}
catch (Exception e)
{
    Console.Error.WriteLine($"payment cannot start: {e.Message}");
    return 1;
}
Console.WriteLine("payment is ready.");
await host.WaitForShutdownAsync();
return 0;

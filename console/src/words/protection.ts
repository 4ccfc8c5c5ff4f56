// Which disks are protected.
export const protection = {
  "nav.protection": ["Protection", "保护情况"],
  "protection.lead": [
    "The last good snapshot of each disk, from which you can restore it, and when it was verified.",
    "每块云硬盘可用于恢复的最近一个完好快照，以及校验时间。",
  ],
  "protection.all": ["All disks", "全部云硬盘"],
  "protection.disk": ["Disk", "云硬盘"],
  "protection.failed": ["{count} failed since", "此后失败 {count} 次"],
  "protection.filter": ["Filter by protection", "按保护情况筛选"],
  "protection.last": ["Last good snapshot", "最近的完好快照"],
  "protection.next": ["Next run", "下次执行"],
  "protection.none": ["No disks yet", "暂无云硬盘"],
  "protection.noneText": ["Create a disk, then create a snapshot of it.", "请先新建云硬盘，然后创建快照。"],
  "protection.noSchedule": ["no schedule", "无计划"],
  "protection.noSnapshot": ["none", "无"],
  "protection.proof": ["Restore test", "恢复测试"],
  "protection.state.false": ["Unprotected", "未受保护"],
  "protection.state.true": ["Protected", "已保护"],
  "protection.stored": ["Stored", "存储大小"],
  "protection.verified": ["Verified", "校验时间"],
} as const;
